"""What the roster tells whoever listens about the nodes' work streams."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from coordinator.events import NodeInfo
from edgenode.types import Frame, NodeDescription, NodeId


@dataclass(frozen=True, slots=True)
class Up:
    """A node is connected, or something about it changed: its state (a suspect keeps what it holds and gets nothing new), its
    engine, its models, or that it drains."""

    node: NodeInfo


@dataclass(frozen=True, slots=True)
class Down:
    """The work stream is over, and with it all that the node held."""

    node: NodeInfo
    why: str


@dataclass(frozen=True, slots=True)
class Heard:
    node: NodeId
    frame: Frame


News = Up | Down | Heard
Listener = Callable[[News], None]


class WorkStream(Protocol):
    """An open work stream to a node that has proved who it is, whichever side dialled."""

    @property
    def address(self) -> str:
        """HOST:PORT of the node, or where it dialled from."""

    @property
    def description(self) -> NodeDescription:
        """As the node gave it when the stream was opened."""

    def send(self, frame: Frame) -> None:
        """Queues a frame; lost when the stream is over."""

    def frames(self) -> AsyncIterator[Frame]:
        """What the node sends. Raises `NetworkError` when the stream is over."""

    async def aclose(self) -> None:
        """Ends it. May be called more than once."""
