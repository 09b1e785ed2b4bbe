"""What the probes found out, as plain values. `None` and empty strings mean that it is not known."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from edgenode.doctor.firewalls import Firewall
from edgenode.net.interfaces import Kind
from edgenode.trust.verdict import Verdict


class Side(StrEnum):
    """Who asks."""

    NODE = "node"
    COORDINATOR = "coordinator"


class System(StrEnum):
    LINUX = "linux"
    WSL = "wsl"
    TERMUX = "termux"
    MACOS = "macos"
    WINDOWS = "windows"
    OTHER = "other"


class Reach(StrEnum):
    """What came of connecting to a TCP port."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"
    """No answer: packets are dropped somewhere."""
    REJECTED = "rejected"
    """The machine is there, and says that what is sent to this port may not pass."""
    NO_HOST = "no_host"
    """Nobody has the address, or a router says that it cannot be reached."""
    NO_ROUTE = "no_route"
    """This machine knows no way to the address."""
    FORBIDDEN = "forbidden"
    """This machine itself does not let the packet out."""
    NOT_TRIED = "not_tried"
    """The interfaces that may be used do not lead there."""


class Answer(StrEnum):
    """What speaks at an open port. `quiet`: it takes connections and says nothing, as a node under a flood does."""

    EDGENODE = "edgenode"
    OTHER = "other"
    QUIET = "quiet"


class MdnsPort(StrEnum):
    """Whether UDP port 5353 can be shared with whoever uses it already."""

    USABLE = "usable"
    TAKEN = "taken"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Interface:
    """`networks` are those its `addresses` are on ("192.168.1.0/24"). `used` tells whether edgenode uses it."""

    name: str
    kind: Kind
    addresses: tuple[str, ...]
    networks: tuple[str, ...]
    used: bool = True
    multicast: bool | None = None
    """Whether a datagram sent to a multicast group on it came back; None where that was not tried."""


@dataclass(frozen=True, slots=True)
class Machine:
    system: System
    now: datetime
    interfaces: tuple[Interface, ...]
    only: str = ""
    """The interface that edgenode was told to keep to, and by what: "--interface lo"."""
    container: str = ""
    """The kind of container this runs in, when its network is not the host's."""
    mdns_port: MdnsPort = MdnsPort.USABLE
    mdns_holder: str = ""
    heard_others: bool | None = None
    """Whether any mDNS of another machine was heard."""
    firewall: Firewall | None = None
    """A firewall that is on."""


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    reach: Reach
    answer: Answer | None = None
    id: str = ""
    """The identity of the key that answers, where edgenode does."""


@dataclass(frozen=True, slots=True)
class Way:
    """One address of another machine. `interface` is the one of ours whose network holds it, None when none does."""

    address: str
    interface: str | None
    kind: Kind | None
    work: Port
    pairing: Port
    ours: bool = False
    """The address is one of this machine's own."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the node says of itself: claims. `clock_ahead` is in seconds, negative when its clock is behind ours."""

    id: str
    name: str
    version: str
    clock_ahead: float
    window_open: bool
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Paired:
    """What this coordinator has written down about a node that it paired with."""

    id: str
    name: str
    certificate_ends: datetime | None = None
    removed: datetime | None = None
    dials_in: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Another machine. `asked` is what the user called it, or the name by which it is known."""

    asked: str
    port: int
    ways: tuple[Way, ...] = ()
    unresolved: str = ""
    """Why its name led to no address."""
    heard: bool = False
    """Whether mDNS told of it."""
    greeting: Greeting | None = None
    greet_error: str = ""
    paired: Paired | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A node of which mDNS tells."""

    id: str
    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trusted:
    """A coordinator that this node is paired with, and the dates of the node's certificate for it."""

    name: str
    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Dialled:
    """A coordinator that this node dials, and what came of dialling the addresses of its host."""

    address: str
    """HOST:PORT, as the node was told."""
    port: int
    ways: tuple[Way, ...] = ()
    unresolved: str = ""
    """Why its name led to no address."""


@dataclass(frozen=True, slots=True)
class OwnNode:
    """The node of this machine, running or not. `port` is that of its work."""

    home: str
    id: str = ""
    name: str = ""
    error: str = ""
    """Why its home or its key cannot be used."""
    running: bool = False
    port: int = 0
    answers: tuple[Way, ...] = ()
    """What came of dialling it at the addresses of this machine."""
    dials: tuple[Dialled, ...] = ()
    """The coordinators that it dials while it runs."""
    trusted: tuple[Trusted, ...] = ()
    key_made: datetime | None = None
    battery_percent: float | None = None
    charging: bool | None = None
    engine: str = ""
    """What would run a model here, empty when nothing would."""
    models: int = 0


@dataclass(frozen=True, slots=True)
class OwnCoordinator:
    """The coordinator of this user. `nodes` counts those it is paired with."""

    error: str = ""
    """Why its key or authority cannot be used."""
    nodes: int = 0
    ends: datetime | None = None
    """When its authority's certificate ends."""
    port_taken: bool = False
    """Whether somebody has a port on this machine at which nodes would dial in: nearly always another coordinator command."""


@dataclass(frozen=True, slots=True)
class Facts:
    side: Side
    version: str
    machine: Machine
    heard: tuple[Heard, ...] = ()
    node: OwnNode | None = None
    coordinator: OwnCoordinator | None = None
    targets: tuple[Target, ...] = field(default=())
    asked: bool = False
    """Whether the user named the one target."""
