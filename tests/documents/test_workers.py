"""Files are read in processes of their own, whose end is the end of one file."""

import inspect
import os
import signal
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents import extract
from coordinator.documents.kinds import NOT_READ, READERS, reader_of
from coordinator.documents.workers import Job, Workers
from coordinator.errors import DocumentError
from coordinator.types import Cell, Document, Row


@pytest.mark.parametrize("ending", sorted(READERS))
def test_every_kind_has_its_reader(ending: str) -> None:
    """What the table of kinds names is there, and takes bytes."""
    assert list(inspect.signature(reader_of(ending)).parameters) == ["data"]
    assert ending not in NOT_READ


def test_a_crash_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file whose reader crashes is refused; those after it are read by a new process."""
    (tmp_path / "crashing_reader.py").write_text("import os\ndef read(data):\n    os.kill(os.getpid(), 9)\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, crashing_reader\nimport coordinator.documents\n"
        "sys.modules['coordinator.documents.crashing_reader'] = crashing_reader\n"
        "import coordinator.documents.kinds as kinds\n"
        "kinds.READERS = {**kinds.READERS, '.bad': 'crashing_reader.read'}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    good = tmp_path / "good.txt"
    good.write_text("Read.")
    with Workers(most=1) as workers:
        jobs = [Job(".bad", good), Job(".txt", good), Job(".bad", good), Job(".txt", good)]
        futures = [workers.submit(job) for job in jobs]
        for future, job in zip(futures, jobs, strict=True):
            if job.ending == ".bad":
                with pytest.raises(DocumentError):
                    future.result()
            else:
                assert future.result().text == "Read."


def test_an_endless_file_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that never returns is stopped at its limit, and says that this was why."""
    (tmp_path / "sitecustomize.py").write_text(
        "import coordinator.documents.plain as plain\nimport threading\nplain.read_text = lambda data: threading.Event().wait()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "a.txt").write_text("Never read.")
    with Workers(most=1, seconds=0.5) as workers, pytest.raises(DocumentError, match="too long"):
        workers.submit(Job(".txt", tmp_path / "a.txt")).result()


def test_signs_of_progress_are_no_extract_and_no_excuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader may say that it gets on, as often as it wants, before it answers; one that then stops is ended at its limit."""
    (tmp_path / "sitecustomize.py").write_text(
        "import coordinator.documents.plain as plain\nimport threading\n"
        "from coordinator.documents import progress\nread = plain.read_text\n"
        "def slow(data):\n    for _ in range(3):\n        with progress.alone():\n            progress.tell()\n"
        "    return read(data) if data == b'Read.' else threading.Event().wait()\n"
        "plain.read_text = slow\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "a.txt").write_text("Read.")
    (tmp_path / "b.txt").write_text("Never read.")
    with Workers(most=2) as workers:
        futures = [workers.submit(Job(".txt", tmp_path / "a.txt")) for _ in range(4)]
        assert [future.result().text for future in futures] == ["Read."] * 4
    with Workers(most=1, seconds=0.5) as workers, pytest.raises(DocumentError, match="too long"):
        workers.submit(Job(".txt", tmp_path / "b.txt")).result()


def test_a_reading_process_has_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that wants to download something, or to tell somebody, while it reads a file reaches nobody: no connection, no
    datagram, no name looked up."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        (tmp_path / "sitecustomize.py").write_text(
            "import coordinator.documents.plain as plain\nimport socket\n"
            "from coordinator.documents.extract import Extract\n"
            "def tried(what):\n    try:\n        what()\n    except PermissionError:\n        return 'refused'\n    return 'done'\n"
            "def read(data):\n    return Extract(' '.join(map(tried, (\n"
            f"        lambda: socket.create_connection({server.getsockname()}),\n"
            f"        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', {datagrams.getsockname()}),\n"
            "        lambda: socket.getaddrinfo('localhost', 80),\n        lambda: socket.gethostbyname('localhost'),\n"
            "        lambda: socket.socket().bind(('127.0.0.1', 0)),\n    ))))\n"
            "plain.read_text = read\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        (tmp_path / "a.txt").write_text("Text.")
        with Workers(most=1) as workers:
            assert workers.submit(Job(".txt", tmp_path / "a.txt")).result().text == " ".join(["refused"] * 5)
        for each in (server, datagrams):
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.accept() if each is server else each.recv(1)


def test_workers_end_with_the_pool(tmp_path: Path) -> None:
    """No process is left when the pool is."""
    (tmp_path / "a.txt").write_text("Read.")
    with Workers() as workers:
        workers.submit(Job(".txt", tmp_path / "a.txt")).result()
        pids = [worker._process.pid for worker in workers._workers if worker._process is not None]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@given(st.lists(st.tuples(st.text("ab .\n", min_size=1, max_size=8), st.text("NM", max_size=3)), min_size=1, max_size=6), st.data())
def test_a_quotation_holds_what_stands_there(cells: list[tuple[str, str]], data: st.DataObject) -> None:
    """Whatever range of a row is quoted, every word of the range is in the quotation, in order."""
    text, found = "x ", []
    for value, name in cells:
        found.append(Cell(len(text), len(text) + len(value), name))
        text += value + " "
    made = Document("D1", "t", Path("t"), text + "y", (), (Row(2, found[-1].end, tuple(found)),))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    words = iter(made.quote(start, end).split())
    assert all(word in words for word in text[start:end].split())


def test_clean_text_can_be_encoded() -> None:
    """A lone surrogate, which no file can hold, does not stay."""
    assert extract.clean("a\ud800b\r\nc") == "a\ufffdb\nc"
