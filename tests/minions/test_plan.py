"""Questions into tasks, tasks onto chunks."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.minions.plan import Bundle, is_overview, make_plan, split_question
from coordinator.minions.question import MAX_TASKS
from coordinator.types import Chunk, Reading
from edgenode.errors import UsageError


class Scores:
    """Relevance by a table: query -> score of each chunk; every chunk above 0 is relevant. Unknown queries score 0."""

    def __init__(self, count: int, table: Mapping[str, Sequence[float]]) -> None:
        self._count = count
        self._table = table

    def chunk_scores(self, query: str) -> list[float]:
        return list(self._table.get(query, [0.0] * self._count))

    def relevant_chunks(self, query: str) -> tuple[int, ...]:
        return tuple(index for index, score in enumerate(self.chunk_scores(query)) if score > 0)


def chunks(count: int) -> tuple[Chunk, ...]:
    return tuple(Chunk(index, "D1", index * 10, index * 10 + 10, ()) for index in range(count))


PARTS = [
    ("What must we do before we move out, and by when?", ["What must we do before we move out", "by when? (Part of: {})"]),
    ("Who pays for repairs and who pays for cleaning?", ["Who pays for repairs", "who pays for cleaning? (Part of: {})"]),
    (
        "What notice must a member give before moving out, and when is the deposit paid back?",
        ["What notice must a member give before moving out", "when is the deposit paid back?"],
    ),
    ("What is the rent? And who pays it?", ["What is the rent?", "who pays it? (Part of: {})"]),
    ("Who pays for repairs; who pays for paint?", ["Who pays for repairs", "who pays for paint? (Part of: {})"]),
    ("Is smoking allowed, and who pays for damage?", ["Is smoking allowed", "who pays for damage? (Part of: {})"]),
    (
        "What must we do, what must we pay, and by when?",
        ["What must we do", "what must we pay (Part of: {})", "by when? (Part of: {})"],
    ),
    ("Of the lease:\n- rent amount\n- deposit amount", ["rent amount (Part of: {})", "deposit amount (Part of: {})"]),
    ("Compare: 1) what A pays 2) what B pays", ["what A pays (Part of: {})", "what B pays (Part of: {})"]),
    ("List the deadlines. Who pays?", ["List the deadlines.", "Who pays? (Part of: {})"]),
    ("敷金はいくらで、いつ返還されますか？", ["敷金はいくらで", "いつ返還されますか？ (Part of: {})"]),
    ("家賃はいくらで、いつ、どのように支払いますか？", ["家賃はいくらで", "いつ、どのように支払いますか？ (Part of: {})"]),
    ("退去の通知はいつまでですか。敷金はいくらですか。", ["退去の通知はいつまでですか。", "敷金はいくらですか。"]),
    ("ペットは飼えますか、駐車場はありますか？", ["ペットは飼えますか", "駐車場はありますか？"]),
    (
        "保証人は誰で、どのような義務があるか、契約書から教えてください。",
        ["保証人は誰で", "どのような義務があるか、契約書から教えてください。"],
    ),
]


@pytest.mark.parametrize(("question", "expected"), PARTS)
def test_parts_become_tasks(question: str, expected: list[str]) -> None:
    """Each part that asks something is a task, and a part that does not stand alone carries the whole question."""
    whole = " ".join(question.split())
    assert [task.instruction for task in split_question(question)] == [part.format(whole) for part in expected]
    assert [task.index for task in split_question(question)] == list(range(len(expected)))


@pytest.mark.parametrize(
    "question",
    [
        "What is the rent?",
        "When and where is the meeting?",
        "How and when can we give notice?",
        "I moved out in March. When do I get the deposit back?",
        "Tell me about the deposit and when it is returned.",
        "What does “who pays, and when” mean?",
        'What does "Who pays? When?" on page 3 mean?',
        "What is the fee (and who pays it, and when)?",
        "What did the tenant, who signed in May, agree to pay?",
        "What happened when the U.S. left?",
        "Which rooms, floors and stairs are cleaned?",
        "いつ、どこで、誰が会議を開きますか？",
        "退去する場合、いつまでに通知が必要ですか？",
        "何かを壊した場合、誰が払いますか？",
        "「いつ、どこで払うか、誰が払うか」とは何ですか？",
        "敷金について教えてください。",
        "家賃",
        "Wann ist die Miete fällig?",
        "Summarise this lease.",
    ],
)
def test_one_interrogative_is_one_task(question: str) -> None:
    """Nothing is divided where only one thing is asked, nor inside quotation marks or brackets."""
    assert [task.instruction for task in split_question(question)] == [question]


def test_tasks_are_capped() -> None:
    """A page of questions becomes a handful of tasks that together still hold all of them."""
    tasks = split_question(" ".join(f"Who pays item{number}?" for number in range(40)))
    assert len(tasks) == MAX_TASKS
    assert all(any(f"item{number}?" in task.instruction for task in tasks) for number in range(40))


@pytest.mark.parametrize("question", ["", "  \n", "?!?", "123 456", "。？", "😀"])
def test_question_without_words_is_refused(question: str) -> None:
    """A question without any letter is the caller's mistake, said in one sentence."""
    with pytest.raises(UsageError, match="holds no words"):
        split_question(question)


WORDS = st.sampled_from(
    [
        "who pays",
        "by when",
        ", and",
        "; ",
        "? ",
        "。",
        "、",
        "いつ",
        "誰が払うか",
        "家賃は",
        "\n- ",
        "1. ",
        "(",
        ")",
        "“",
        "”",
        "the rent",
        " ",
    ]
)


@given(st.lists(WORDS, min_size=1, max_size=25).map("".join))
def test_any_question_splits_into_something(question: str) -> None:
    """Whatever is typed, there are 1 to MAX_TASKS tasks with words in them, numbered in order, or a usage error."""
    try:
        tasks = split_question(question)
    except UsageError:
        assert not any(character.isalpha() for character in question)
        return
    assert 1 <= len(tasks) <= MAX_TASKS
    assert [task.index for task in tasks] == list(range(len(tasks)))
    assert all(any(character.isalpha() for character in task.instruction) for task in tasks)


@given(st.text(max_size=400))
def test_any_text_can_be_a_question(question: str) -> None:
    """No text makes splitting or the overview test fail in any other way."""
    is_overview(question)
    try:
        assert split_question(question)
    except UsageError:
        assert not any(character.isalpha() for character in question)


@pytest.mark.parametrize(
    "question",
    [
        "Summarise this.",
        "Give me a summary of the contract",
        "What are the main points?",
        "Give an overview.",
        "What is this about?",
        "What's the document about?",
        "List all deadlines.",
        "Find every payment we have to make",
        "Explain this contract.",
        "契約書を要約してください",
        "概要は？",
        "要点をまとめて",
        "全体の流れを教えて",
        "すべての期限を挙げてください",
        "この文書は何について書かれていますか",
    ],
)
def test_overviews(question: str) -> None:
    """Questions whose answer is spread over the document are known, in English and Japanese."""
    assert is_overview(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is the rent?",
        "When must all keys be returned?",
        "What does the contract say about pets?",
        "How many days' notice does every tenant give?",
        "Who keeps the main key?",
        "敷金はいくらですか",
        "鍵はいつ返しますか",
    ],
)
def test_pointed_questions(question: str) -> None:
    """A question about one thing is no overview, even if it says all or every."""
    assert not is_overview(question)


TWO = "Who pays for repairs, and by when?"
FIRST, SECOND = (task.instruction for task in split_question(TWO))


def test_pointed_question_reads_relevant_chunks() -> None:
    """Each task is asked of the chunks relevant to it or to the whole question, the most promising chunk first."""
    index = Scores(5, {FIRST: [0, 1, 0, 8, 0], SECOND: [0, 0, 5, 1, 0], TWO: [0.5, 0, 0, 1, 0]})
    plan = make_plan(TWO, chunks(5), index, Reading.AUTO)
    assert [task.instruction for task in plan.tasks] == [FIRST, SECOND]
    assert not plan.overview
    assert plan.bundles == (Bundle(2, (1,)), Bundle(3, (0, 1)), Bundle(0, (0, 1)), Bundle(1, (0,)))


@pytest.mark.parametrize(("question", "reading"), [(TWO, Reading.ALL), ("List all payments.", Reading.AUTO)])
def test_everything_is_read(question: str, reading: Reading) -> None:
    """On demand and for an overview every task is asked of every chunk, still the most promising first."""
    plan = make_plan(question, chunks(4), Scores(4, {question: [0, 2, 0, 1]}), reading)
    assert [bundle.chunk for bundle in plan.bundles] == [1, 3, 0, 2]
    assert all(bundle.tasks == tuple(range(len(plan.tasks))) for bundle in plan.bundles)


def test_overview_may_be_held_to_relevant_chunks() -> None:
    """What the user says of the reading goes before what the question looks like."""
    plan = make_plan("List all payments.", chunks(3), Scores(3, {"List all payments.": [0, 2, 0]}), Reading.RELEVANT)
    assert plan.overview
    assert plan.bundles == (Bundle(1, (0,)),)


def test_nothing_relevant() -> None:
    """Where retrieval knows nothing everything is read, unless the user wants relevant chunks only."""
    assert [bundle.chunk for bundle in make_plan("家賃は？", chunks(3), Scores(3, {}), Reading.AUTO).bundles] == [0, 1, 2]
    assert make_plan("家賃は？", chunks(3), Scores(3, {}), Reading.RELEVANT).bundles == ()
    assert make_plan("家賃は？", (), Scores(0, {}), Reading.AUTO).bundles == ()
