"""The wire: what goes out comes in the same, and what breaks a limit is refused in one way."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenode.net import wire
from edgenode.types import (
    MAX_SLOTS,
    Cancel,
    Completion,
    EngineState,
    Failure,
    FailureReason,
    Frame,
    Heartbeat,
    Hello,
    Lease,
    LeaseId,
    Model,
    NodeDescription,
    NodeId,
    Outcome,
    Progress,
    Refusal,
    Subtask,
    SubtaskId,
    Usage,
)
from edgenode.v1 import node_pb2, work_pb2

ids = st.text("abcXYZ019_.:-", min_size=1, max_size=64)
words = st.text("abc äあ漢1", max_size=30).map(lambda text: " ".join(text.split()))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
counts = st.integers(0, 2**31)
leases, subtasks = ids.map(LeaseId), ids.map(SubtaskId)
models = st.builds(
    Model,
    name=words,
    digest=st.sampled_from(["", "0f" * 32]),
    size_bytes=counts,
    quantization=words,
    context_tokens=counts,
    parameters=counts,
)
usages = st.builds(
    lambda prompt, cached, written, seconds: Usage(prompt, min(cached, prompt), written, seconds),
    counts,
    counts,
    counts,
    st.floats(0, 1e6),
)
failures = st.builds(Failure, st.sampled_from(FailureReason), words.filter(bool))
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, words),
    st.builds(
        NodeDescription,
        id=ids.map(NodeId),
        name=words,
        version=words,
        engine=words,
        engine_state=st.sampled_from(EngineState),
        models=st.lists(models, max_size=3).map(tuple),
        lease_limit=st.integers(0, 1000),
        slots=st.integers(1, MAX_SLOTS),
    ),
    st.builds(
        Lease,
        leases,
        words,
        texts,
        texts,
        st.lists(st.builds(Subtask, subtasks, texts, texts, st.integers(0, wire.MAX_REPLY_TOKENS)), max_size=3).map(tuple),
        st.integers(1, MAX_SLOTS),
    ),
    st.builds(Cancel, leases, st.lists(subtasks, max_size=3).map(tuple)),
    st.builds(Refusal, leases, st.sampled_from(FailureReason), words),
    st.builds(
        lambda lease, subtask, prompt, read, written: Progress(lease, subtask, prompt, min(read, prompt), written),
        leases,
        subtasks,
        counts,
        counts,
        counts,
    ),
    st.builds(Outcome, leases, subtasks, st.one_of(st.builds(Completion, texts, usages), failures)),
    st.just(Heartbeat()),
)


@given(frames)
def test_every_frame_survives_the_way(frame: Frame) -> None:
    """Types to bytes and back give the same value."""
    data = wire.frame_to_proto(frame).SerializeToString()
    assert wire.frame_from_proto(work_pb2.Frame.FromString(data)) == frame


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    """Fuzzed bytes give a frame, nothing known, or one kind of error."""
    try:
        message = work_pb2.Frame.FromString(data)
    except DecodeError:
        return
    try:
        wire.frame_from_proto(message)
    except wire.WireError as error:
        assert str(error).isprintable()  # noqa: PT017 - most inputs are no error


def test_a_frame_of_a_later_version_is_passed_over() -> None:
    """A kind that is not known is no error: field 99 may exist one day."""
    assert wire.frame_from_proto(work_pb2.Frame.FromString(b"\x9a\x06\x00")) is None


@pytest.mark.parametrize(
    "message",
    [
        work_pb2.Frame(lease=work_pb2.Lease(id="")),
        work_pb2.Frame(lease=work_pb2.Lease(id="x" * 65)),
        work_pb2.Frame(lease=work_pb2.Lease(id="two\nlines")),
        work_pb2.Frame(lease=work_pb2.Lease(id="a", subtasks=[work_pb2.Subtask(id="b")] * (wire.MAX_SUBTASKS + 1))),
        work_pb2.Frame(lease=work_pb2.Lease(id="a", shared="x" * (wire.MAX_TEXT_CHARACTERS + 1))),
        work_pb2.Frame(cancel=work_pb2.Cancel(lease_id="a", subtask_ids=["b"] * (wire.MAX_SUBTASKS + 1))),
        work_pb2.Frame(
            outcome=work_pb2.Outcome(
                lease_id="a", subtask_id="b", completion=work_pb2.Completion(text="x" * (wire.MAX_REPLY_CHARACTERS + 1))
            )
        ),
        work_pb2.Frame(description=node_pb2.NodeDescription(id="")),
        work_pb2.Frame(description=node_pb2.NodeDescription(id="a", models=[node_pb2.Model(name="m")] * (wire.MAX_MODELS + 1))),
    ],
)
def test_what_breaks_a_limit_is_refused(message: work_pb2.Frame) -> None:
    """Too many, too long or nameless: one sentence, before it gets any further."""
    with pytest.raises(wire.WireError):
        wire.frame_from_proto(message)


def test_what_a_node_says_of_itself_is_cleaned() -> None:
    """Escape sequences and line breaks in names never reach a terminal, and a digest is a digest or nothing."""
    message = node_pb2.NodeDescription(
        id="a", name="evil\x1b[2J\nname" + "x" * 500, models=[node_pb2.Model(name="m\u202ee", digest="../../etc")], engine_state=77
    )
    node = wire.describe_from_proto(message)
    assert node.name.isprintable()
    assert "\x1b" not in node.name
    assert len(node.name) <= wire.NAME_CHARACTERS
    assert node.models[0].name == "me"
    assert node.models[0].digest == ""
    assert node.engine_state is EngineState.RESTARTING


def test_figures_that_cannot_be_are_set_right() -> None:
    """A node cannot claim more cached tokens than there were, nor a time that is not a number."""
    usage = work_pb2.Usage(prompt_tokens=5, cached_tokens=9, completion_tokens=1, seconds=float("nan"))
    frame = wire.frame_from_proto(
        work_pb2.Frame(
            outcome=work_pb2.Outcome(lease_id="a", subtask_id="b", completion=work_pb2.Completion(text="t", usage=usage))
        )
    )
    assert frame == Outcome(LeaseId("a"), SubtaskId("b"), Completion("t", Usage(5, 5, 1, 0.0)))


@pytest.mark.parametrize(("told", "taken"), [(0, 1), (1, 1), (64, 64), (2**32 - 1, 64)])
def test_slots_of_other_versions_are_set_right(told: int, taken: int) -> None:
    """A peer that says nothing of slots has one, and none has more than a device can use."""
    described = wire.describe_from_proto(node_pb2.NodeDescription(id="a", slots=told))
    lent = wire.frame_from_proto(work_pb2.Frame(lease=work_pb2.Lease(id="a", at_once=told)))
    assert described.slots == taken
    assert isinstance(lent, Lease)
    assert lent.at_once == taken
