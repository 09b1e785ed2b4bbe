"""Presentations: what each slide shows, and what hangs on it."""

import io
import zipfile

from coordinator.documents.books import read_epub
from coordinator.documents.extract import Extract
from coordinator.documents.slides import read_pptx
from coordinator.types import GapKind

NAMES = " ".join(f'xmlns:{prefix}="{prefix}"' for prefix in ("a", "p", "r", "mc", "m", "d"))
TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def archive(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return target.getvalue()


def relations(**targets: str) -> str:
    each = "".join(f'<Relationship Id="{kind}" Type="{TYPES}/{kind}" Target="{target}"/>' for kind, target in targets.items())
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{each}</Relationships>'


def deck(shapes: str, **parts: str) -> Extract:
    """A presentation of one slide; `parts` by their relation to it."""
    files = {
        "ppt/presentation.xml": f'<p:x {NAMES}><p:sldIdLst><p:sldId id="256" r:id="slide"/></p:sldIdLst></p:x>',
        "ppt/_rels/presentation.xml.rels": relations(slide="s.xml"),
        "ppt/s.xml": f"<p:sld {NAMES}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>",
        "ppt/_rels/s.xml.rels": relations(**{kind: f"{kind}.xml" for kind in parts}),
        **{f"ppt/{kind}.xml": content.replace(">", f" {NAMES}>", 1) for kind, content in parts.items()},
    }
    return read_pptx(archive(files))


def par(text: str, properties: str = "", run: str = "") -> str:
    return f"<a:p>{properties}<a:r><a:rPr {run}/><a:t>{text}</a:t></a:r></a:p>"


def shape(*paragraphs: str, attributes: str = "") -> str:
    return f"<p:sp><p:nvSpPr><p:cNvPr {attributes}/></p:nvSpPr><p:txBody>{''.join(paragraphs)}</p:txBody></p:sp>"


def lines(extract: Extract) -> list[str]:
    return [line for line in extract.text.split("\n") if line]


def test_a_hidden_shape_hides_itself_alone() -> None:
    """What stands in a group with it is read; struck text is left out and told as well."""
    hidden = shape(par("no"), attributes='hidden="1"')
    group = f"<p:grpSp><p:nvGrpSpPr><p:cNvPr/></p:nvGrpSpPr>{shape(par('Seen'))}{hidden}</p:grpSp>"
    extract = deck(group + shape(par("no", run='strike="sngStrike"')))
    assert lines(extract) == ["Seen"]
    assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN, GapKind.HIDDEN]


def test_numbers_that_the_program_counts() -> None:
    """They stand nowhere in the file; a deeper level begins again, and a paragraph between ends the count."""
    first, inner = (
        '<a:pPr><a:buAutoNum type="arabicPeriod"/></a:pPr>',
        '<a:pPr lvl="1"><a:buAutoNum type="alphaLcParenBoth"/></a:pPr>',
    )
    texts = [par("x", first), par("y", inner), par("z", first), par("w", inner), par("plain"), par("x", first)]
    assert lines(deck(shape(*texts))) == ["1. x", "(a) y", "2. z", "(a) w", "plain", "1. x"]


def test_one_form_of_what_is_given_in_two() -> None:
    """Formulas and shapes come with a form for older programs."""
    both = "<mc:AlternateContent><mc:Choice>{0}</mc:Choice><mc:Fallback>{0}</mc:Fallback></mc:AlternateContent>"
    formula = both.format("<m:oMath><m:t>x=2</m:t></m:oMath>")
    assert lines(deck(both.format(shape(par("Once"))) + shape(f"<a:p>{formula}</a:p>"))) == ["Once", "x=2"]


def test_what_hangs_on_a_slide() -> None:
    """Comments of newer programs, diagrams, charts with groups of names and missing values, embedded documents."""

    def points(*values: tuple[int, str]) -> str:
        return "".join(f"<d:pt idx='{position}'><d:v>{value}</d:v></d:pt>" for position, value in values)

    quarters, places = points((0, "Q1"), (1, "Q2"), (2, "Q1")), points((0, "North"), (2, "South"))
    series = (
        f"<x><d:ser><d:tx>{points((0, '2026'))}</d:tx><d:cat><d:lvl>{quarters}</d:lvl><d:lvl>{places}</d:lvl></d:cat>"
        f"<d:val>{points((0, '1'), (2, '3'))}</d:val></d:ser></x>"
    )
    comments = f"<x><p:cm><p:txBody>{par('Why?')}</p:txBody><p:reply><p:txBody>{par('So.')}</p:txBody></p:reply></p:cm></x>"
    extract = deck("", comments=comments, diagramData=f"<x><d:pt>{par('Apply')}</d:pt></x>", chart=series, package="<x>y</x>")
    assert lines(extract) == [
        "[Comment: Why?]",
        "[Comment: So.]",
        "Apply",
        " | 2026",
        "North Q1 | 1",
        "North Q2 | ",
        "South Q1 | 3",
    ]
    assert [part.name for part in extract.parts] == ["package.xml"]


def test_what_a_book_only_points_at_is_read_last() -> None:
    """Answers and notes stand outside the order of reading; a chapter that the file lacks is told."""
    items = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in "abc")
    spine = '<itemref idref="c" linear="no"/><itemref idref="a"/><itemref idref="b"/>'
    extract = read_epub(
        archive(
            {
                "META-INF/container.xml": '<container><rootfile full-path="p.opf"/></container>',
                "p.opf": f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>",
                "a.xhtml": '<?xml version="1.0"?><html><head><title/></head><body><p>First.</p></body></html>',
                "c.xhtml": "<p>Answers.</p>",
            }
        )
    )
    assert lines(extract) == ["First.", "Answers."]
    assert [(gap.kind, gap.pages) for gap in extract.gaps] == [(GapKind.DAMAGED, (2,))]
