"""gRPC channels and servers with this project's limits: one place for every option."""

from typing import Final

import grpc

from edgenode.net.wire import MAX_MESSAGE_BYTES

# Seen on idle streams: with these a cut cable is noticed within 5 s and a frozen process within 3 s (without: never, 61 s).
KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SIZES: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8 * 1024),
)
SERVER: Final = (
    *KEEPALIVE,
    *SIZES,
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_concurrent_streams", 16),
    # Two nodes told the same port must not share it silently.
    ("grpc.so_reuseport", 0),
)
# A channel looks for its peer again quickly: on a home network an address that was dead a second ago is often back.
CLIENT: Final = (*KEEPALIVE, *SIZES, ("grpc.max_reconnect_backoff_ms", 2_000), ("grpc.enable_http_proxy", 0))


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to HOST:PORT. In the clear: the caller has made sure that the address is loopback."""
    return grpc.aio.insecure_channel(address, options=CLIENT)


def make_server() -> grpc.aio.Server:
    return grpc.aio.server(options=SERVER, maximum_concurrent_rpcs=64)
