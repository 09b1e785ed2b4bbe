"""What a run tells the world, in the order it happens. The live view, plain lines, `--json` and the SDK's stream all read these."""

from dataclasses import dataclass
from enum import StrEnum

from coordinator.types import AggregationRequest, Answer, Finding, Gap, RunId
from edgenode.types import DeviceStatus, EngineState, LeaseId, Model, NodeId


class NodeState(StrEnum):
    """`joined`: connected and heard. `suspect`: found but not (or no longer) connected, silent, or coming and going. `gone`:
    said goodbye, or could not be reached for a while. `unpaired`: found, and not asked for anything."""

    UNPAIRED = "unpaired"
    JOINED = "joined"
    SUSPECT = "suspect"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node as the coordinator sees it. `address` is HOST:PORT, or "dials in from HOST" for one that cannot be dialled."""

    id: NodeId
    name: str
    address: str
    state: NodeState
    engine: str
    engine_state: EngineState | None
    models: tuple[Model, ...]
    status: DeviceStatus | None = None
    """How the device fares, as it told last; None before it has."""
    draining: str = ""
    """Why it takes no more work, in its own words; empty while it does."""
    why: str = ""
    """Why it is not joined, as a sentence; empty when it is."""
    slots: int = 1
    """How many requests its engine works on at once."""
    unchecked: str = ""
    """The server that runs its models, where the node cannot check whether it does so on its own device; else empty."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    run: RunId
    question: str


@dataclass(frozen=True, slots=True)
class DocumentRead:
    label: str
    name: str
    characters: int
    pages: int | None


@dataclass(frozen=True, slots=True)
class DocumentSkipped:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentGap:
    """Something that a document holds is not in its text, and will not be read."""

    label: str
    name: str
    gap: Gap


@dataclass(frozen=True, slots=True)
class NodeJoined:
    node: NodeInfo


@dataclass(frozen=True, slots=True)
class NodeGone:
    id: NodeId
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A node that takes part became suspect, began to drain, or is neither any more: `node.state`, `node.why` and
    `node.draining` say which."""

    node: NodeInfo


@dataclass(frozen=True, slots=True)
class Planned:
    """`chunks_read` of `chunks` are read; `overview` tells that the question asks about the whole. Of the subtasks `done` had
    come to their end before the run was resumed."""

    tasks: tuple[str, ...]
    overview: bool
    chunks: int
    chunks_read: int
    subtasks: int
    done: int = 0


@dataclass(frozen=True, slots=True)
class Estimated:
    """`parts` are still to be read, by `devices`, in about `seconds`; None while it is not known how fast any of them is. Told once
    before the reading begins, and again while it goes on."""

    parts: int
    devices: int
    seconds: float | None
    off_topic: bool = False
    """Whether nothing in the documents seems to be about the question."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A node was lent subtasks of one chunk; as a `hedge`, when another node is late with them."""

    node: NodeId
    lease: LeaseId
    document: str
    page: int | None
    subtasks: int
    hedge: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A node was told to stop `subtasks` of a lease, and why."""

    node: NodeId
    lease: LeaseId
    subtasks: int
    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A node went away, or came to nothing, with `subtasks` of a lease; they go back to be done elsewhere."""

    node: NodeId
    lease: LeaseId
    subtasks: int
    why: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A node is at a subtask: `read_tokens` of `prompt_tokens` read, `completion_tokens` written."""

    node: NodeId
    document: str
    page: int | None
    read_tokens: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Found:
    """A subtask came to its end, or retrieval added a sentence."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Retried:
    """An attempt failed on a node; the subtask goes on elsewhere or later."""

    node: NodeId
    message: str


@dataclass(frozen=True, slots=True)
class Aggregating:
    """`request` holds all that is asked of the supervisor, or of a node when `by` is "home"."""

    by: str
    model: str
    findings: int
    request: AggregationRequest


@dataclass(frozen=True, slots=True)
class SupervisorTrouble:
    """The supervisor is asked again after `wait_seconds`."""

    message: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know that does not stop the run."""

    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    answer: Answer


Event = (
    RunStarted
    | DocumentRead
    | DocumentSkipped
    | DocumentGap
    | NodeJoined
    | NodeGone
    | NodeChanged
    | Planned
    | Estimated
    | Leased
    | Cancelled
    | Lost
    | Reading
    | Found
    | Retried
    | Aggregating
    | SupervisorTrouble
    | Warned
    | Ended
)
