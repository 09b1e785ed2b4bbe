import pytest

import coordinator.nodes.doctor
from edgenode.doctor import dial, multicast
from edgenode.net import pairing_client, pinned


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers is waited for, however busy this machine is; who tests a deadline sets it."""
    for module, deadline in (
        (dial, "CONNECT_SECONDS"),
        (dial, "HANDSHAKE_SECONDS"),
        (dial, "RESOLVE_SECONDS"),
        (multicast, "ECHO_SECONDS"),
        (coordinator.nodes.doctor, "GREET_SECONDS"),
        (pairing_client, "ANSWER_SECONDS"),
        (pinned, "CONNECT_SECONDS"),
    ):
        monkeypatch.setattr(module, deadline, 60.0)
