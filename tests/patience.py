"""Limits of how slow a peer may be, put off for tests whose peers are real and share a busy machine."""

import pytest

from edgenode.net import channel
from edgenode.net.pairing_desk import PairingDesk
from edgenode.net.pairing_session import converse

# For what must happen, however busy the machine is.
SECONDS = 120.0
_LIMITS = (
    "edgenode.net.client.ASK_SECONDS",
    "edgenode.net.client.CONNECT_SECONDS",
    "edgenode.net.dial_in.FIRST_FRAME_SECONDS",
    "edgenode.net.dial_in_pairing.FIRST_FRAME_SECONDS",
    "edgenode.net.dial_out.CONNECT_SECONDS",
    "edgenode.net.pairing_client.ANSWER_SECONDS",
    "edgenode.net.pinned.CONNECT_SECONDS",
    "edgenode.net.reachable.CONNECT_SECONDS",
    "coordinator.nodes.pair_node.NAMED_SECONDS",
)


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is there may be slow to be found and to answer, for the rest of a test."""
    for limit in _LIMITS:
        monkeypatch.setattr(limit, SECONDS)
    for server in ("WORK_SERVER", "PAIRING_SERVER"):
        options = dict(getattr(channel, server)) | {"grpc.server_handshake_timeout_ms": int(SECONDS * 1_000)}
        monkeypatch.setattr(channel, server, tuple(options.items()))
    for with_defaults in (converse, PairingDesk.__init__):
        for limit in ("patience", "seconds"):
            monkeypatch.setitem(with_defaults.__kwdefaults__, limit, SECONDS)
