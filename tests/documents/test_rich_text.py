"""Rich text of several word processors is read as they show it."""

import pytest

from coordinator.documents.rich_text import read_rtf
from coordinator.types import GapKind

FONTS = r"{\fonttbl{\f0\fnil Arial;}{\f1\fnil\fcharset128 MS Mincho;}{\f2\fnil\fcharset2 Wingdings;}{\f3\fnil\fcharset2 Symbol;}}"
CHECKBOX = r"{{\field{{\*\fldinst FORMCHECKBOX {{\*\formfield{{\fftype1\ffres{}}}}}}}{{\fldrslt }}}}"


def lines(content: str) -> list[str]:
    text = read_rtf(rf"{{\rtf1\ansi\ansicpg1252\deff0{FONTS}{content}}}".encode("latin-1")).text
    return [line for line in text.split("\n") if line]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (r"{\header \pard Contract 4471\par}{\footer \pard Page \chpgn\par}\pard Body.\par", ["Contract 4471", "Body."]),
        (r"{\footer \pard Bank 12\par}\pard Body.\par", ["Body.", "Bank 12"]),
        (
            r"The rent{\*\atnauthor Vogel}\chatn{\*\annotation{\*\atnref 1}\pard\plain Less?} is 900.\par",
            ["The rent is 900.", "[Comment by Vogel: Less?]"],
        ),
        (r"A{\footnote \pard First.\par Second.} b.\par", ["A [note] b.", "[Note: First. Second.]"]),
        (
            r"A {\shp{\*\shpinst{\sp{\sn shapeType}{\sv 202}}{\shptxt \pard Boxed\par}}{\shprslt{\*\do Boxed}}}b\par",
            ["A b", "Boxed"],
        ),
        (rf"{CHECKBOX.format(1)} yes {CHECKBOX.format(0)} no\par", ["☒ yes ☐ no"]),
        (
            r"{\field{\*\fldinst FORMDROPDOWN {\*\formfield{\fftype2\ffres1{\*\ffl Mon}{\*\ffl Thu}}}}{\fldrslt Mon}} ok\par",
            ["Thu ok"],
        ),
        (r"{\f2 \'fe} paid {\f2 o} open {\f3 a}\par", ["☑ paid ☐ open α"]),
        (r"A {\object\objemb{\*\objdata 0105}{\result Shown}} b\par", ["A Shown b"]),
        (r"{\upr{Old form}{\*\ud{New form}}} b\par", ["New form b"]),
        (r"Rent{\xe\v entry} is 950.\par", ["Rent is 950."]),
        (r"\pard\loch\f0\dbch\f1 {\dbch\af1\loch\af0 \'89\'c6\'92\'c0} ok\par", ["家賃 ok"]),
    ],
)
def test_what_rich_text_shows(content: str, shown: list[str]) -> None:
    """Heads and feet, notes and comments, boxes, fields of forms, signs, objects, and one of two forms of the same."""
    assert lines(content) == shown


def test_tables_of_rich_text() -> None:
    """Merged cells say the same in each place, a table inside a cell stays in its row, paragraphs in a cell do not end it."""
    first = r"\trowd\trhdr\cellx1\cellx2\cellx3\pard\intbl Room\cell Item\cell EUR\cell\row"
    second = r"\trowd\clvmgf\cellx1\cellx2\cellx3\pard\intbl Kitchen\cell Tap\par new\cell 80\cell\row"
    third = r"\trowd\clvmrg\cellx1\cellx2\cellx3\pard\intbl \cell Stove\cell 640\cell\row"
    fourth = r"\trowd\clmgf\cellx1\clmrg\cellx2\cellx3\pard\intbl Total\cell\cell 720\cell\row"
    inner = (
        r"\trowd\cellx1\cellx2\cellx3\pard\intbl Bath\cell\pard\intbl\itap2 a\nestcell 1\nestcell{\*\nesttableprops\trowd\nestrow}"
        r"{\nonesttables\par}\pard\intbl \cell 5\cell\row"
    )
    assert lines(first + second + third + fourth + inner + r"\pard End\par") == [
        "Room | Item | EUR",
        "Kitchen | Tap new | 80",
        "Kitchen | Stove | 640",
        "Total | Total | 720",
        "Bath | a, 1 | 5",
        "End",
    ]


def test_an_entry_of_an_index_is_no_hidden_text() -> None:
    """Only what a reader of the page might miss is told."""
    extract = read_rtf(rb"{\rtf1 Rent{\xe\v entry} and {\v secret}.\par}")
    assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN]
    assert not read_rtf(rb"{\rtf1 Rent{\xe\v entry}.\par}").gaps
