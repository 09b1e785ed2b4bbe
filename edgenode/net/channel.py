"""gRPC channels and servers with this project's limits: one place for every option. All of them speak TLS.

A server has two ports side by side: PORT for work, where the handshake itself asks for a certificate, and PORT + 1 for pairing, the
only thing that is reachable without one.
"""

from collections.abc import Callable
from typing import Any, Final

import grpc

from edgenode.errors import NetworkError
from edgenode.net.addresses import grpc_target
from edgenode.net.forked import use_grpc
from edgenode.net.front import Front
from edgenode.net.http2 import Budget, Budgets
from edgenode.net.wire import MAX_MESSAGE_BYTES
from edgenode.trust.tls import ClientTls, ServerTls

MAX_PAIRING_MESSAGE_BYTES: Final = 64 * 1024
# Without a cap ten thousand junk connections take all file descriptors.
WORK_CONNECTIONS: Final = 32
PAIRING_CONNECTIONS: Final = 16
STREAMS_OF_CONNECTION: Final = 4
CONNECTION_SECONDS: Final = 12 * 3_600.0
"""After so long whoever dialled makes a work connection anew, since gRPC looks at the dates of certificates in handshakes only. At
each of them a coordinator's own is good for a day at least."""

# What no client of ours comes near: a coordinator sends 500 messages a second at most, and acknowledges what it reads. A pairing
# takes a few dozen frames.
WORK_BUDGETS: Final = Budgets(data=Budget(20_000, 10_000), updates=Budget(20_000, 10_000), control=Budget(1_000, 100))
PAIRING_BUDGETS: Final = Budgets(data=Budget(500, 50), updates=Budget(500, 50), control=Budget(500, 50))

# Seen on idle streams: with these a cut cable is noticed within 5 s and a frozen process within 3 s (without: never, 61 s).
KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
METADATA: Final = (("grpc.max_metadata_size", 8 * 1024),)
WORK_SIZES: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    *METADATA,
)
PAIRING_SIZES: Final = (
    ("grpc.max_receive_message_length", MAX_PAIRING_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_PAIRING_MESSAGE_BYTES),
    *METADATA,
)
# The window of a stream stays at 64 kB, and a socket is read in pieces of that: with windows that grow with the traffic (gRPC's
# probe for the bandwidth) every connection of a flooding peer costs megabytes, for good.
WINDOWS: Final = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.experimental.tcp_max_read_chunk_size", 64 * 1024),
)
SERVER: Final = (
    *WINDOWS,
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Whoever connects and says nothing, or half of it, is hung up on.
    ("grpc.server_handshake_timeout_ms", 3_000),
)
WORK_SERVER: Final = (
    *SERVER,
    *KEEPALIVE,
    *WORK_SIZES,
    # A coordinator has one stream of work, and asks for the description before.
    ("grpc.max_concurrent_streams", STREAMS_OF_CONNECTION),
    # A connection in use has a stream of work: others do not keep a place.
    ("grpc.max_connection_idle_ms", 10_000),
    # The only end, but for its own, of one whose peer was dropped and does not read. Others have been made anew long before.
    ("grpc.max_connection_age_ms", int(2 * CONNECTION_SECONDS * 1_000)),
    ("grpc.max_connection_age_grace_ms", 5_000),
)
# Strangers come here: short visits, small messages.
PAIRING_SERVER: Final = (
    *SERVER,
    *KEEPALIVE,
    *PAIRING_SIZES,
    ("grpc.max_concurrent_streams", 4),
    ("grpc.max_connection_idle_ms", 5_000),
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 5_000),
)
CLIENT: Final = (
    *KEEPALIVE,
    *WINDOWS,
    # A channel looks for its peer again quickly: on a home network an address that was dead a second ago is often back.
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A connection of its own, which waits for nothing that an earlier one has brought about.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
)


class TlsServer:
    """A gRPC server behind the `Front` of its one port. Services are added to `server`; it is this class that is started."""

    def __init__(self, options: tuple[tuple[str, Any], ...], calls: int, front: Front) -> None:
        self.server = grpc.aio.server(options=options, maximum_concurrent_rpcs=calls)
        self._front = front

    def listen(self, address: str) -> int:
        """Takes HOST:PORT, port 0 for a free one, and returns the port. Raises `NetworkError` when it cannot be had."""
        try:
            return self._front.bind(address, self.server.add_insecure_port(self._front.backend))
        except (OSError, OverflowError, RuntimeError) as error:
            raise NetworkError(f"Nothing can listen at {address}: the port is in use, or not allowed.") from error

    async def start(self) -> None:
        await self.server.start()
        self._front.start()

    async def stop(self, grace: float | None) -> None:
        """Lets nobody in any more, and ends the calls that are open after `grace` seconds."""
        await self._front.stop_listening()
        await self.server.stop(grace)
        await self._front.close()


def make_work_server(fetch: Callable[[], ServerTls]) -> TlsServer:
    """A server whose clients need a certificate. `fetch` is called at every handshake, in a thread, so that whom it trusts may
    change while it serves. Raises what the first call of `fetch` raises."""
    use_grpc()
    front = Front(fetch, asks_certificate=True, limit=WORK_CONNECTIONS, budgets=WORK_BUDGETS)
    # As many as the connections can carry: fewer, and one flooding peer had them all.
    return TlsServer(WORK_SERVER, WORK_CONNECTIONS * STREAMS_OF_CONNECTION, front)


def make_pairing_server(tls: ServerTls) -> TlsServer:
    """A server for strangers, which shows the certificate of `tls` and asks for none."""
    use_grpc()
    front = Front(lambda: tls, asks_certificate=False, limit=PAIRING_CONNECTIONS, budgets=PAIRING_BUDGETS)
    return TlsServer(PAIRING_SERVER, 32, front)


def open_work_channel(address: str, tls: ClientTls, host_name: str) -> grpc.aio.Channel:
    """A channel to HOST:PORT, to be used by nobody but the peer whose certificate, signed by `tls.root`, bears `host_name`."""
    use_grpc()
    credentials = grpc.ssl_channel_credentials(tls.root, tls.key, tls.certificate)
    return grpc.aio.secure_channel(grpc_target(address), credentials, options=(*CLIENT, *WORK_SIZES, *_named(host_name)))


def open_pairing_channel(address: str, certificate_pem: bytes, host_name: str) -> grpc.aio.Channel:
    """A channel to the pairing port HOST:PORT, which must show exactly the certificate given: this proves that it is the same
    peer as a moment ago, and nothing else."""
    use_grpc()
    credentials = grpc.ssl_channel_credentials(certificate_pem)
    return grpc.aio.secure_channel(grpc_target(address), credentials, options=(*CLIENT, *PAIRING_SIZES, *_named(host_name)))


def pairing_address(address: str) -> str:
    """Where the peer that serves work at HOST:PORT can be paired: the port after it. Raises `NetworkError` where there is none."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_535:
        raise NetworkError(f"{address!r} is not an address such as 192.168.1.7:7433.")
    return f"{host}:{int(port) + 1}"


def _named(host_name: str) -> tuple[tuple[str, str], ...]:
    return (("grpc.ssl_target_name_override", host_name),)
