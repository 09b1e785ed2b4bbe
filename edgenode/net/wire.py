"""Protobuf <-> our types: the only place that knows both. What comes in is capped and cleaned here."""

import re
from typing import Final

from edgenode.errors import NetworkError
from edgenode.net.wire_values import (
    reason_from_proto,
    reason_to_proto,
    state_from_proto,
    state_to_proto,
    status_from_proto,
    status_to_proto,
)
from edgenode.text import clean_line
from edgenode.types import (
    MAX_SLOTS,
    MAX_UINT32,
    Cancel,
    Completion,
    Failure,
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

# A lease of ours: a chunk of at most 1,125 estimated tokens, 5 kB; in each of 5 subtasks its sentences again as JSON; instructions.
# About 50 kB, and 180 kB with the longest question that a command line takes.
MAX_MESSAGE_BYTES: Final = 512 * 1024
MAX_MODELS: Final = 64
MAX_SUBTASKS: Final = 64
MAX_TEXT_CHARACTERS: Final = 200_000
MAX_REPLY_CHARACTERS: Final = 32_000
MAX_REPLY_TOKENS: Final = 8_192
NAME_CHARACTERS: Final = 63
MESSAGE_CHARACTERS: Final = 400


class WireError(NetworkError):
    """A peer sent something outside the protocol or its limits. Whoever reads the stream ends it."""


def describe_to_proto(node: NodeDescription) -> node_pb2.NodeDescription:
    return node_pb2.NodeDescription(
        id=node.id,
        name=node.name,
        version=node.version,
        engine=node.engine,
        engine_state=state_to_proto(node.engine_state),
        models=[
            node_pb2.Model(
                name=model.name,
                digest=model.digest,
                size_bytes=model.size_bytes,
                quantization=model.quantization,
                context_tokens=model.context_tokens,
                parameters=model.parameters,
            )
            for model in node.models[:MAX_MODELS]
        ],
        lease_limit=node.lease_limit,
        draining=node.draining,
        slots=node.slots,
        unchecked=node.unchecked,
    )


def describe_from_proto(message: node_pb2.NodeDescription) -> NodeDescription:
    """Raises `WireError` when it names no usable id or too many models."""
    if len(message.models) > MAX_MODELS:
        raise WireError(f"The node lists {len(message.models)} models; {MAX_MODELS} is the limit.")
    return NodeDescription(
        id=NodeId(_identifier(message.id)),
        name=clean_line(message.name, NAME_CHARACTERS),
        version=clean_line(message.version, NAME_CHARACTERS),
        engine=clean_line(message.engine, NAME_CHARACTERS),
        engine_state=state_from_proto(message.engine_state),
        models=tuple(
            Model(
                name=clean_line(model.name, 200),
                digest=model.digest if re.fullmatch(r"[0-9a-f]{64}", model.digest) else "",
                size_bytes=model.size_bytes,
                quantization=clean_line(model.quantization, NAME_CHARACTERS),
                context_tokens=model.context_tokens,
                parameters=model.parameters,
            )
            for model in message.models
        ),
        lease_limit=min(message.lease_limit, 1_000),
        draining=clean_line(message.draining, MESSAGE_CHARACTERS),
        slots=_slots(message.slots),
        unchecked=clean_line(message.unchecked, NAME_CHARACTERS),
    )


def frame_to_proto(frame: Frame) -> work_pb2.Frame:
    match frame:
        case Hello(version):
            return work_pb2.Frame(hello=work_pb2.Hello(version=version))
        case NodeDescription():
            return work_pb2.Frame(description=describe_to_proto(frame))
        case Lease(id, model, system, shared, subtasks, at_once):
            return work_pb2.Frame(
                lease=work_pb2.Lease(
                    id=id,
                    model=model,
                    system=system,
                    shared=shared,
                    subtasks=[
                        work_pb2.Subtask(
                            id=subtask.id,
                            instruction=subtask.instruction,
                            reply_schema=subtask.reply_schema,
                            max_reply_tokens=subtask.max_reply_tokens,
                        )
                        for subtask in subtasks
                    ],
                    at_once=at_once,
                )
            )
        case Cancel(lease, cancelled):
            return work_pb2.Frame(cancel=work_pb2.Cancel(lease_id=lease, subtask_ids=cancelled))
        case Refusal(lease, reason, text):
            return work_pb2.Frame(refusal=work_pb2.Refusal(lease_id=lease, reason=reason_to_proto(reason), message=text))
        case Progress(lease, subtask_id, prompt_tokens, read_tokens, completion_tokens):
            return work_pb2.Frame(
                progress=work_pb2.Progress(
                    lease_id=lease,
                    subtask_id=subtask_id,
                    prompt_tokens=prompt_tokens,
                    read_tokens=read_tokens,
                    completion_tokens=completion_tokens,
                )
            )
        case Outcome(lease, subtask_id, Completion(text, usage)):
            return work_pb2.Frame(
                outcome=work_pb2.Outcome(
                    lease_id=lease,
                    subtask_id=subtask_id,
                    completion=work_pb2.Completion(
                        # An engine may have split a character in two; protobuf takes whole ones only.
                        text=text[:MAX_REPLY_CHARACTERS].encode("utf-8", "replace").decode("utf-8"),
                        usage=work_pb2.Usage(
                            prompt_tokens=min(usage.prompt_tokens, MAX_UINT32),
                            cached_tokens=min(usage.cached_tokens, MAX_UINT32),
                            completion_tokens=min(usage.completion_tokens, MAX_UINT32),
                            seconds=usage.seconds,
                        ),
                    ),
                )
            )
        case Outcome(lease, subtask_id, Failure(reason, text)):
            return work_pb2.Frame(
                outcome=work_pb2.Outcome(
                    lease_id=lease,
                    subtask_id=subtask_id,
                    failure=work_pb2.Failure(reason=reason_to_proto(reason), message=text),
                )
            )
        case Heartbeat(status):
            return work_pb2.Frame(heartbeat=work_pb2.Heartbeat(status=None if status is None else status_to_proto(status)))
        case _:
            raise AssertionError(f"not a frame: {frame!r}")


def frame_from_proto(message: work_pb2.Frame) -> Frame | None:
    """The frame, or None for a kind this version does not know. Raises `WireError` for what breaks a limit."""
    match message.WhichOneof("kind"):
        case "hello":
            return Hello(clean_line(message.hello.version, NAME_CHARACTERS))
        case "description":
            return describe_from_proto(message.description)
        case "lease":
            return _lease_from_proto(message.lease)
        case "cancel":
            ids = message.cancel.subtask_ids
            if len(ids) > MAX_SUBTASKS:
                raise WireError(f"A cancellation names {len(ids)} subtasks; {MAX_SUBTASKS} is the limit.")
            return Cancel(_lease_id(message.cancel.lease_id), tuple(SubtaskId(_identifier(each)) for each in ids))
        case "refusal":
            return Refusal(
                _lease_id(message.refusal.lease_id),
                reason_from_proto(message.refusal.reason),
                clean_line(message.refusal.message, MESSAGE_CHARACTERS),
            )
        case "progress":
            progress = message.progress
            return Progress(
                _lease_id(progress.lease_id),
                SubtaskId(_identifier(progress.subtask_id)),
                progress.prompt_tokens,
                min(progress.read_tokens, progress.prompt_tokens),
                progress.completion_tokens,
            )
        case "outcome":
            return _outcome_from_proto(message.outcome)
        case "heartbeat":
            return Heartbeat(status_from_proto(message.heartbeat.status) if message.heartbeat.HasField("status") else None)
        case _:
            return None


def _lease_from_proto(message: work_pb2.Lease) -> Lease:
    if len(message.subtasks) > MAX_SUBTASKS:
        raise WireError(f"A lease holds {len(message.subtasks)} subtasks; {MAX_SUBTASKS} is the limit.")
    texts = [message.system, message.shared, *(t for s in message.subtasks for t in (s.instruction, s.reply_schema))]
    if any(len(text) > MAX_TEXT_CHARACTERS for text in texts):
        raise WireError(f"A lease holds a text of more than {MAX_TEXT_CHARACTERS} characters.")
    return Lease(
        _lease_id(message.id),
        message.model[:200],
        message.system,
        message.shared,
        tuple(
            Subtask(
                SubtaskId(_identifier(subtask.id)),
                subtask.instruction,
                subtask.reply_schema,
                min(subtask.max_reply_tokens, MAX_REPLY_TOKENS),
            )
            for subtask in message.subtasks
        ),
        _slots(message.at_once),
    )


def _outcome_from_proto(message: work_pb2.Outcome) -> Outcome:
    lease, subtask = _lease_id(message.lease_id), SubtaskId(_identifier(message.subtask_id))
    if message.WhichOneof("result") == "completion":
        completion = message.completion
        if len(completion.text) > MAX_REPLY_CHARACTERS:
            raise WireError(f"A reply holds {len(completion.text)} characters; {MAX_REPLY_CHARACTERS} is the limit.")
        usage = completion.usage
        seconds = usage.seconds if 0.0 <= usage.seconds < 1e9 else 0.0
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        return Outcome(
            lease, subtask, Completion(completion.text, Usage(usage.prompt_tokens, cached, usage.completion_tokens, seconds))
        )
    failure = message.failure
    return Outcome(
        lease,
        subtask,
        Failure(reason_from_proto(failure.reason), clean_line(failure.message, MESSAGE_CHARACTERS) or "no reason given"),
    )


def _slots(told: int) -> int:
    """Versions that know nothing of slots send none, and mean one."""
    return min(max(told, 1), MAX_SLOTS)


def _lease_id(text: str) -> LeaseId:
    return LeaseId(_identifier(text))


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", text):
        raise WireError(f"Not a usable id: {clean_line(text, 20)!r}.")
    return text
