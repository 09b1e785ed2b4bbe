"""Text falls into sentences that are quotations a person would make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.sentences import MAX_SENTENCE_CHARACTERS, capped, split_sentences

TRICKY = st.text(
    alphabet=st.sampled_from("abcA .!?。、「」\n\n|\t,;1-#第条 とは\u0301é🙂🏽\u200d\ud83d\u3000.()"), max_size=900
) | st.text(max_size=700)


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(text)]


@given(TRICKY)
def test_every_character_is_in_exactly_one_sentence(text: str) -> None:
    """Nothing is lost, nothing doubled, nothing empty, nothing too long, and offsets say where each stands."""
    covered = [0] * len(text)
    for sentence in split_sentences(text):
        assert 0 < sentence.end - sentence.start <= MAX_SENTENCE_CHARACTERS
        assert sentence.text == " ".join(text[sentence.start : sentence.end].split()) != ""
        assert not text[sentence.start].isspace()
        assert not text[sentence.end - 1].isspace()
        for at in range(sentence.start, sentence.end):
            covered[at] += 1
    assert all(count == 1 or (count == 0 and character.isspace()) for count, character in zip(covered, text, strict=True))


@given(TRICKY, st.data())
def test_a_part_of_a_text_keeps_the_texts_offsets(text: str, data: st.DataObject) -> None:
    """Splitting from `start` to `end` is splitting that slice, with offsets into the whole."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))

    within = [(sentence.start + start, sentence.end + start, sentence.text) for sentence in split_sentences(text[start:end])]

    assert [(sentence.start, sentence.end, sentence.text) for sentence in split_sentences(text, start, end)] == within


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. It pours! Does it? Yes.", ["It rains.", "It pours!", "Does it?", "Yes."]),
        (
            "Mr. J. Smith of No. 5 Oak St. pays 3.5 percent. Dr. Who, too.",
            ["Mr. J. Smith of No. 5 Oak St. pays 3.5 percent.", "Dr. Who, too."],
        ),
        ("The U.S. Army came. He lives in the U.S. The end.", ["The U.S. Army came.", "He lives in the U.S.", "The end."]),
        (
            "Pets, e.g. dogs, i.e. animals, etc. are out. No. They stay.",
            ["Pets, e.g. dogs, i.e. animals, etc. are out.", "No.", "They stay."],
        ),
        ('"Really?" he said. "Yes." She left.', ['"Really?" he said.', '"Yes."', "She left."]),
        (
            "See https://example.org/a.b?c=d. Then e.mail@example.org.",
            ["See https://example.org/a.b?c=d.", "Then e.mail@example.org."],
        ),
        ("It cost 3. Then 1,000.50 more... And that was it.", ["It cost 3.", "Then 1,000.50 more...", "And that was it."]),
        ("解約は可能です。通知は必要か？必要！以上", ["解約は可能です。", "通知は必要か？", "必要！", "以上"]),
        (
            "彼は「はい。そうです。」と言った。「いいえ。」彼女は笑った。",
            ["彼は「はい。そうです。」と言った。", "「いいえ。」", "彼女は笑った。"],
        ),
        (
            "年１４．６パーセントとする（例外を除く。）ただし書面による。",
            ["年１４．６パーセントとする（例外を除く。）", "ただし書面による。"],
        ),
        ("契約書 (Contract) です。See Article 5. 以上。", ["契約書 (Contract) です。", "See Article 5.", "以上。"]),
    ],
)
def test_sentence_ends(text: str, expected: list[str]) -> None:
    """Sentences end where a reader sees an end, in English and Japanese."""
    assert texts(text) == expected


def test_wrapped_lines_are_one_sentence_and_blank_lines_part() -> None:
    """A line end inside a paragraph is white space, an empty line is an end."""
    text = (
        "The deposit is returned within thirty days of\nthe handover of all keys, less\nany costs. Interest\nis not paid\n\nAnnex"
    )

    assert texts(text) == [
        "The deposit is returned within thirty days of the handover of all keys, less any costs.",
        "Interest is not paid",
        "Annex",
    ]


def test_headings_and_list_items_stand_alone() -> None:
    """A heading does not run into its text, nor one item into the next; an item's own wrapped lines stay with it."""
    text = (
        "# Lease\nThe parties agree.\n3.2 Deposit\nThe deposit is 900 EUR and is kept by the landlord until the end.\n"
        "- keys\n- the remote control that lies in the upper\n  drawer\n1. First. Again.\n2. Second\n"
        "第4条（敷金）\n敷金は返還する。\n・鍵\n・リモコン"
    )

    assert texts(text) == [
        "# Lease",
        "The parties agree.",
        "3.2 Deposit",
        "The deposit is 900 EUR and is kept by the landlord until the end.",
        "- keys",
        "- the remote control that lies in the upper drawer",
        "1. First.",
        "Again.",
        "2. Second",
        "第4条（敷金）",
        "敷金は返還する。",
        "・鍵",
        "・リモコン",
    ]


def test_a_row_of_a_table_is_a_sentence() -> None:
    """Rows in Markdown, with tabs and in columns of spaces stay whole and apart."""
    text = "| Item | Due |\n|---|---|\n| Gas. Old | 1 May |\n\nName\tAmount\nPower\t44.00\n\n"
    text += "Water   1 June   30.50\nHeat    2 June   10.00"

    assert texts(text) == [
        "| Item | Due |",
        "|---|---|",
        "| Gas. Old | 1 May |",
        "Name Amount",
        "Power 44.00",
        "Water 1 June 30.50",
        "Heat 2 June 10.00",
    ]


def test_two_spaces_after_a_full_stop_are_no_column() -> None:
    """An old typist's double spaces do not make a table of a paragraph."""
    assert texts("He came.  He saw.  He\nwon.") == ["He came.", "He saw.", "He won."]


def test_a_long_sentence_is_cut_at_the_best_place() -> None:
    """The cut falls after the semicolon near the middle rather than after a comma, into pieces of similar length."""
    text = "the tenant, who lives there, " * 7 + "pays the rent; " + "the landlord, who does not, " * 7

    pieces = [text[start:end] for start, end in capped(text, 0, len(text))]

    assert len(pieces) == 2
    assert pieces[0].endswith("rent;")


def test_a_cut_in_japanese_falls_after_a_comma() -> None:
    """Text without spaces is cut at its commas."""
    text = "賃借人は書面により通知し、" * 40

    assert all(piece.endswith("、") for piece in texts(text))


def test_a_cut_never_parts_a_character_from_its_marks() -> None:
    """Letters written as base and accent, and emoji joined of several, survive the cap."""
    for unit in ("e\u0301", "か\u3099", "👩\u200d👩\u200d👧", "👍🏽"):
        text = unit * 300
        for start, end in capped(text, 0, len(text)):
            assert len(text[start:end]) % len(unit) == 0 or unit == "👩\u200d👩\u200d👧"
            assert text[start] == unit[0]


@pytest.mark.parametrize(
    "piece", ["「a。", "a  b ", "\u0301", "(1) ", "...", ".)", "| ", "a\t", "。」", "- - -", "1.1.", "a\n", "No. "]
)
def test_hostile_repetition_does_not_take_for_ever(piece: str) -> None:
    """A hundred thousand characters of anything are done in one pass (a quadratic one would take minutes)."""
    text = piece * (100_000 // len(piece)) + "x"

    assert sum(len("".join(sentence.text.split())) for sentence in split_sentences(text)) == len("".join(text.split()))
