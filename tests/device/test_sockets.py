"""Who listens at a port is told apart by the system's own table."""

import os
import socket
from pathlib import Path

import pytest

from edgenode.device.sockets import owners_of_port, stranger_at

LINE = "   0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {user:>4}        0 1 1 0 100\n"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def test_owners_are_those_who_listen(tmp_path: Path) -> None:
    """Connections at the same port, and other ports, are somebody else's business."""
    table = tmp_path / "tcp"
    lines = ((11434, "0A", 1001), (11434, "01", 7), (80, "0A", 0))
    table.write_text(HEAD + "".join(LINE.format(port=port, state=state, user=user) for port, state, user in lines))
    assert owners_of_port(11434, (table, tmp_path / "none")) == {1001}
    assert owners_of_port(81, (table,)) == set()
    assert owners_of_port(80, (tmp_path / "none",)) is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux has this table")
def test_a_server_of_ones_own_is_no_strangers() -> None:
    """What this user listens at is found and trusted."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert owners_of_port(port) == {os.getuid()}
        assert stranger_at(port) is None
