"""gRPC channels and servers with this project's limits: one place for every option. All of them speak TLS.

A server has two ports side by side: PORT for work, where the handshake itself asks for a certificate, and PORT + 1 for pairing, the
only thing that is reachable without one.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.addresses import grpc_target
from edgenode.net.forked import use_grpc
from edgenode.net.once import LogOnce
from edgenode.net.wire import MAX_MESSAGE_BYTES
from edgenode.trust.tls import ClientTls, ServerTls

MAX_PAIRING_MESSAGE_BYTES: Final = 64 * 1024
WORK_CONNECTIONS: Final = 32
STREAMS_OF_CONNECTION: Final = 4
CONNECTION_SECONDS: Final = 12 * 3_600.0
"""After so long whoever dialled makes a work connection anew, since gRPC looks at the dates of certificates in handshakes only. At
each of them a coordinator's own is good for a day at least."""

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
    # Two nodes told the same port must not share it silently.
    ("grpc.so_reuseport", 0),
)
# With a cap 10,000 junk connections cost 5 MB and the server serves again 1.2 s after they began; without it gRPC runs out of file
# descriptors and aborts the process.
WORK_SERVER: Final = (
    *SERVER,
    *KEEPALIVE,
    *WORK_SIZES,
    # Several coordinators with a few commands each. A coordinator has one stream of work, and asks for the description before.
    ("grpc.max_allowed_incoming_connections", WORK_CONNECTIONS),
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
    ("grpc.max_allowed_incoming_connections", 16),
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

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A gRPC server that has no port yet, and the credentials of every port that it gets."""

    server: grpc.aio.Server
    credentials: grpc.ServerCredentials

    def listen(self, address: str) -> int:
        """Listens at HOST:PORT, port 0 for a free one, and returns the port. Raises `NetworkError` when it cannot be had."""
        try:
            return self.server.add_secure_port(grpc_target(address), self.credentials)
        except RuntimeError as error:
            raise NetworkError(f"Nothing can listen at {address}: the port is in use, or not allowed.") from error


def make_work_server(fetch: Callable[[], ServerTls]) -> TlsServer:
    """A server whose clients need a certificate. `fetch` is called at every handshake, in a thread of gRPC's and one call at a
    time, so that whom it trusts may change while it serves. Raises what the first call of `fetch` raises."""
    use_grpc()
    current = fetch()
    lock = threading.Lock()
    once = LogOnce(logger)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        with lock:
            try:
                tls = fetch()
            except (EdgenodeError, OSError) as error:
                once.warning("Who may connect cannot be read anew", str(error))
                return None
            if tls == current:
                return None
            current = tls
            return _configuration(tls)

    credentials = grpc.dynamic_ssl_server_credentials(
        _configuration(current),
        changed,  # type: ignore[arg-type]  # None for "as before" is in gRPC's documentation, not in its stubs
        require_client_authentication=True,
    )
    # As many as the connections can carry: fewer, and one flooding peer had them all.
    calls = WORK_CONNECTIONS * STREAMS_OF_CONNECTION
    return TlsServer(grpc.aio.server(options=WORK_SERVER, maximum_concurrent_rpcs=calls), credentials)


def make_pairing_server(tls: ServerTls) -> TlsServer:
    """A server for strangers, which shows the certificate of `tls` and asks for none."""
    use_grpc()
    credentials = grpc.ssl_server_credentials([(tls.key, certificate) for certificate in tls.certificates])
    return TlsServer(grpc.aio.server(options=PAIRING_SERVER, maximum_concurrent_rpcs=32), credentials)


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


def _configuration(tls: ServerTls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(tls.key, certificate) for certificate in tls.certificates], tls.roots)


def _named(host_name: str) -> tuple[tuple[str, str], ...]:
    return (("grpc.ssl_target_name_override", host_name),)
