"""The values of the wire that are made sense of whatever a peer sends: enums and figures, to and from protobuf."""

from edgenode.types import DeviceStatus, EngineState, FailureReason
from edgenode.v1 import node_pb2, work_pb2


def status_to_proto(status: DeviceStatus) -> node_pb2.DeviceStatus:
    return node_pb2.DeviceStatus(
        battery_percent=status.battery_percent,
        charging=status.charging,
        temperature_celsius=status.temperature_celsius,
        available_memory_bytes=status.available_memory_bytes,
        load=status.load,
    )


def status_from_proto(message: node_pb2.DeviceStatus) -> DeviceStatus:
    """Numbers that no device can have are taken as not told."""

    def number(field: str, least: float, most: float) -> float | None:
        value = float(getattr(message, field))
        return value if message.HasField(field) and least <= value <= most else None  # type: ignore[arg-type]

    return DeviceStatus(
        battery_percent=number("battery_percent", 0, 100),
        charging=message.charging if message.HasField("charging") else None,
        temperature_celsius=number("temperature_celsius", -100, 1_000),
        available_memory_bytes=message.available_memory_bytes if message.HasField("available_memory_bytes") else None,
        load=number("load", 0, 1_000_000),
    )


def state_to_proto(state: EngineState) -> node_pb2.EngineState.ValueType:
    return node_pb2.EngineState.Value(f"ENGINE_STATE_{state.name}")


def state_from_proto(value: node_pb2.EngineState.ValueType) -> EngineState:
    # A state of a later version that this one does not know is taken as not ready.
    name = node_pb2.EngineState.Name(value).removeprefix("ENGINE_STATE_") if value in node_pb2.EngineState.values() else ""
    return EngineState[name] if name in EngineState.__members__ else EngineState.RESTARTING


def reason_to_proto(reason: FailureReason) -> work_pb2.FailureReason.ValueType:
    return work_pb2.FailureReason.Value(f"FAILURE_REASON_{reason.name}")


def reason_from_proto(value: work_pb2.FailureReason.ValueType) -> FailureReason:
    name = work_pb2.FailureReason.Name(value).removeprefix("FAILURE_REASON_") if value in work_pb2.FailureReason.values() else ""
    return FailureReason[name] if name in FailureReason.__members__ else FailureReason.UNSPECIFIED
