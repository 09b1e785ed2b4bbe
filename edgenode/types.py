"""The vocabulary of the wire as plain values. Protobuf stops at `edgenode.net.wire`; everything else speaks these."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

NodeId = NewType("NodeId", str)
LeaseId = NewType("LeaseId", str)
SubtaskId = NewType("SubtaskId", str)
AuthorityId = NewType("AuthorityId", str)
"""A coordinator's authority: the first 32 hex digits of the SHA-256 of its public key. `NodeId` is made likewise."""

MAX_SLOTS: Final = 64
MAX_UINT32: Final = 2**32 - 1
"""The largest count that a message carries."""
"""No device works on more requests at once to any profit."""


class EngineState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"


class FailureReason(StrEnum):
    """Why a subtask or a lease failed. The comments in work.proto say what each means."""

    UNSPECIFIED = "unspecified"
    ENGINE_CRASHED = "engine_crashed"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    ENGINE_TIMEOUT = "engine_timeout"
    ENGINE_ERROR = "engine_error"
    CONTEXT_EXCEEDED = "context_exceeded"
    QUEUE_FULL = "queue_full"
    UNKNOWN_MODEL = "unknown_model"
    INVALID = "invalid"
    CANCELLED = "cancelled"
    STOPPING = "stopping"
    BAD_REPLY = "bad_reply"
    DRAINING = "draining"
    ENGINE_REFUSED = "engine_refused"


@dataclass(frozen=True, slots=True)
class Model:
    """A model a node serves. `digest` is the lower-case hex SHA-256 of the GGUF file, empty where its server does not tell."""

    name: str
    digest: str = ""
    size_bytes: int = 0
    quantization: str = ""
    context_tokens: int = 0
    """Tokens of prompt and reply together that one request may use."""
    parameters: int = 0
    """Number of weights, 0 where unknown."""


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """What a node says of itself."""

    id: NodeId
    name: str
    version: str
    engine: str
    engine_state: EngineState
    models: tuple[Model, ...]
    lease_limit: int
    draining: str = ""
    """Why the node takes no more work; empty while it does."""
    slots: int = 1
    """How many requests its engine works on at once."""
    unchecked: str = ""
    """The server that runs its models, where the node cannot check whether it does so on this device; else empty."""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """How a device fares; None where its platform does not tell."""

    battery_percent: float | None = None
    """0 to 100."""
    charging: bool | None = None
    temperature_celsius: float | None = None
    available_memory_bytes: int | None = None
    load: float | None = None
    """Processes that want to run, averaged over a minute, for each core."""


@dataclass(frozen=True, slots=True)
class Subtask:
    """One model call: the lease's shared text, then `instruction`, answered within `reply_schema` (JSON schema as text)."""

    id: SubtaskId
    instruction: str
    reply_schema: str
    max_reply_tokens: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A bundle of subtasks that share a chunk, lent to one node, which runs them in order."""

    id: LeaseId
    model: str
    system: str
    shared: str
    subtasks: tuple[Subtask, ...]
    at_once: int = 1
    """The node begins it only while it works on fewer leases of this coordinator."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt tokens, those that came from the prompt cache."""
    completion_tokens: int = 0
    seconds: float = 0.0
    """Time the engine worked on it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote. Not trusted: whoever asked parses and checks it."""

    text: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failure:
    reason: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of a coordinator."""

    version: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stops all of a lease, or only the subtasks named."""

    lease: LeaseId
    subtasks: tuple[SubtaskId, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The node did not take the lease: nothing of it was done."""

    lease: LeaseId
    reason: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the node has come with a subtask. The first of each subtask says that it has begun, and otherwise nothing: all 0."""

    lease: LeaseId
    subtask: SubtaskId
    prompt_tokens: int
    read_tokens: int
    """Of the prompt, read so far, cached ones included."""
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Exactly one for each subtask of a lease that was taken."""

    lease: LeaseId
    subtask: SubtaskId
    result: Completion | Failure


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sent by both sides when nothing else was for a while. From nodes with their status when it has changed."""

    status: DeviceStatus | None = None


Frame = Hello | NodeDescription | Lease | Cancel | Refusal | Progress | Outcome | Heartbeat
