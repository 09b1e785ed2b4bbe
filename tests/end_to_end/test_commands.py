"""The commands as a user types them: real processes, exit statuses, one sentence for every mistake."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.pools import FACT, PATIENCE, QUESTION, RunningNode, agreed, command, run, seen
from tests.supervisor_server import Reply, SupervisorServer, failure

Start = Callable[..., RunningNode]


def test_nodes_lists_what_was_found(start_node: Start) -> None:
    """Two nodes on one machine, each with its home, as JSON and as a table."""
    nodes = {node.told["id"]: node.name for node in (start_node(), start_node())}
    joined = seen("coordinator", "nodes", key="nodes", ids=nodes, wanted=lambda told: told["state"] == "joined")
    for id, told in joined.items():
        assert {"id", "name", "address", "state", "models"} <= set(told)
        assert told["name"] == nodes[id]
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+", told["address"])
        assert set(told["models"][0]) >= {"name", "digest"}
    table = run("coordinator", "nodes")
    assert table.status == 0
    assert "ADDRESS" in table.out


def test_text_tells_places_gaps_and_what_is_inside(tmp_path: Path) -> None:
    """As JSON: the text of a message with its attachment as a document of its own, and what of it is not read."""
    part = "--B\nContent-Type: {}\nContent-Disposition: attachment; filename={}\n\n{}\n"
    message = tmp_path / "mail.eml"
    message.write_text(
        "From: a@example.org\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/plain\n\nThe rent.\n"
        + part.format("text/csv", "rents.csv", "name,rent\nMia,900")
        + part.format("application/octet-stream", "a.bin", "xyz")
        + part.format("application/ms-tnef", "winmail.dat", "xyz")
        + "--B--\n"
    )
    told = run("coordinator", "text", "--json", message).json
    assert told["text"].endswith("The rent.")
    assert [gap["kind"] for gap in told["gaps"]] == ["not_read"]
    assert [(each["text"], each["rows"][0]["label"]) for each in told["inside"]] == [("name: Mia | rent: 900", "record 2")]
    assert [each["name"] for each in told["skipped"]] == [f"{message} > a.bin"]


def test_ask_prints_the_answer_the_citation_and_what_left(start_node: Start, lease: Path) -> None:
    """Plain lines in a pipe: progress on standard error, the result on standard output, the test engine named."""
    node = start_node()
    done = run("coordinator", "ask", "--node", node.name, lease, QUESTION)
    assert done.status == 0, done.err
    assert re.search(r"^\[1\] .*lease\.txt, .+\n    “.+”$", done.out, re.MULTILINE)
    assert "nothing was sent" in done.out.casefold()
    assert "deterministic test engine" in done.out
    assert "\x1b" not in done.out + done.err


def test_ask_json_is_what_the_issue_of_the_format_says(start_node: Start, lease: Path) -> None:
    """Every key a script relies on, offsets that hold for `coordinator text`, a private run folder, and forgetting it."""
    node = start_node()
    with SupervisorServer() as supervisor:
        done = run("coordinator", "ask", "--json", "--node", node.name, lease, QUESTION, **agreed(supervisor))
    assert done.status == 0, done.err
    answer = done.json
    assert set(answer) == {
        "run",
        "status",
        "answer",
        "answered_by",
        "citations",
        "findings",
        "nodes",
        "ledger",
        "seconds",
        "incomplete",
        "unread",
        "passages",
    }
    assert set(answer["findings"]) == {"answered", "retrieved", "abstained", "rejected", "failed"}
    assert set(answer["ledger"]) == {"requests", "document_characters", "whole_document_tokens"}
    assert set(answer["ledger"]["requests"][0]) == {"model", "bytes", "prompt_tokens", "completion_tokens", "usd"}
    assert {"id", "name", "model", "subtasks", "prompt_tokens", "cached_tokens", "completion_tokens", "seconds"} <= set(
        answer["nodes"][0]
    )
    text = run("coordinator", "text", lease).out
    for citation in answer["citations"]:
        assert set(citation) >= {"document", "page", "start", "end", "quote"}
        assert text[citation["start"] : citation["end"]] == citation["quote"]
    folder = Path(os.environ["EDGENODE_DATA"]) / "runs" / answer["run"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in folder.iterdir())
    story = run("coordinator", "show", answer["run"], "--json").json
    assert [each["quote"] for each in story["citations"]] == [each["quote"] for each in answer["citations"]]
    assert f"“{answer['citations'][0]['quote']}”" in run("coordinator", "show", answer["run"]).out
    assert all(each == round(each, 3) for each in (story["seconds"], *(node["seconds"] for node in story["nodes"])))
    ledger = run("coordinator", "ledger", answer["run"], "--json").json
    assert ledger["requests"][0]["body"].encode() == supervisor.requests[0].body
    assert QUESTION in run("coordinator", "ledger", answer["run"]).out
    assert run("coordinator", "forget", answer["run"]).status == 0
    assert not folder.exists()
    assert run("coordinator", "forget", answer["run"]).status == 1


def test_a_dry_run_shows_the_request(start_node: Start, lease: Path) -> None:
    """Status dry_run, exit 0, the request on standard output, nothing sent."""
    node = start_node()
    with SupervisorServer() as supervisor:
        done = run("coordinator", "ask", "--json", "--dry-run", "--node", node.name, lease, QUESTION, **agreed(supervisor))
        shown = run("coordinator", "ask", "--dry-run", "--node", node.name, lease, QUESTION)
    assert supervisor.requests == []
    assert (done.status, done.json["status"]) == (0, "dry_run")
    assert FACT in json.dumps(done.json["request"])
    assert shown.status == 0
    assert FACT in shown.out


def test_a_refusing_supervisor_fails_with_a_sentence_and_resume_goes_on(start_node: Start, lease: Path) -> None:
    """Exit 1, the findings kept, and the same run answered later without reading."""
    node = start_node()
    with SupervisorServer(failure(401, "no")) as supervisor:
        failed = run(
            "coordinator",
            "ask",
            "--json",
            "--node",
            node.name,
            lease,
            QUESTION,
            **agreed(supervisor),
            OPENAI_API_KEY="k-1",
        )
        assert (failed.status, failed.json["status"]) == (1, "failed")
        assert "key" in failed.json["error"]
        assert failed.json["error"] in failed.err
        resumed = run("coordinator", "resume", "--json", failed.json["run"], **agreed(supervisor), OPENAI_API_KEY="k-2")
    assert (resumed.status, resumed.json["status"]) == (0, "answered")
    assert resumed.json["findings"] == failed.json["findings"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ask", "nowhere.pdf", "Is it?"], "nowhere.pdf"),
        (["ask", "Only a question?"], "no document"),
        (["ask", "--frobnicate", "a", "b"], "frobnicate"),
        (["ask", "--jsn", "a", "b"], "Did you mean --json? See: coordinator ask --help"),
        (["ask", "nowhere.pdf", "Is it? " * 100], "nowhere.pdf"),
        (["ask", "Is it? " * 100], "no document"),
        (["ask", "nowhere.pdf", ""], "no question"),
        (["aks", "a", "b"], "ask"),
        (["ask", "--read", "some", "a", "b"], "all nor relevant"),
        (["ask", "--max-egress", "-1", "a", "b"], "characters"),
        (["ask", __file__, "What", "rent?"], '"What rent?"'),
        (["ask", __file__, "What", "must", "lease.pdf", "say?"], '"What must lease.pdf say?"'),
        (["nodes", "--interface", "wlan99"], "wlan99"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], says: str) -> None:
    """Exit 2 (1 for what the machine lacks), one line that names the mistake, no traceback."""
    done = run("coordinator", *arguments)
    assert done.status == (1 if "wlan99" in arguments else 2)
    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert done.out == ""


@pytest.mark.parametrize("name", ["edgenode", "coordinator"])
def test_a_program_without_a_command_prints_its_help(name: str) -> None:
    """It is what somebody types who does not know the commands yet: no error."""
    done = run(name)
    assert (done.status, done.err) == (0, "")
    assert done.out == run(name, "--help").out


def test_a_question_without_quotation_marks_is_put_together(start_node: Start, lease: Path) -> None:
    """Its words are no files, so nothing else can be meant."""
    node = start_node()
    done = run("coordinator", "ask", "--json", "--node", node.name, lease, *QUESTION.split())
    assert done.status == 0, done.err
    assert run("coordinator", "show", done.json["run"], "--json").json["question"] == QUESTION


def test_a_file_as_the_question_is_a_forgotten_question(lease: Path) -> None:
    """The likeliest mistake gets its own sentence."""
    done = run("coordinator", "ask", lease)
    assert done.status == 2
    assert "no question" in done.err


def test_no_node_is_exit_1_with_the_next_step(lease: Path) -> None:
    """Nobody there: said so, and what to type."""
    done = run("coordinator", "ask", "--json", "--node", "nobody-of-this-name", lease, QUESTION)
    assert done.status == 1
    assert "edgenode start" in done.err
    assert done.json["status"] == "failed"
    assert run("coordinator", "nodes", "--json").status == 0


def test_a_full_disk_behind_the_output_is_a_sentence(lease: Path) -> None:
    """/dev/full takes nothing: exit 1, said so, no traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("coordinator", "text", lease), stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
        )
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error(lease: Path) -> None:
    """`| head`: silence, and the status of a closed pipe."""
    process = subprocess.Popen(command("coordinator", "text", lease), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=PATIENCE), err) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("name", ["edgenode", "coordinator"])
def test_version_and_help(name: str) -> None:
    """Both commands tell their version and how they are used."""
    assert re.fullmatch(rf"{name} [0-9.]+\n", run(name, "--version").out)
    assert run(name, "--help").status == 0


def test_help_names_the_default_model() -> None:
    """What the supervisor will be is not hidden."""
    assert "gpt-5-mini" in run("coordinator", "ask", "--help").out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["start"], 1, "edgenode pull"),
        (["start", "--model", "no-such-model"], 1, "no-such-model"),
        (["start", "--engine", "gpt"], 2, "gpt"),
        (["start", "--engine", "deterministic", "--listen", "kitchen"], 1, "address"),
        (["start", "--engine", "deterministic", "--interface", "wlan99"], 1, "wlan99"),
        (["start", "--engine", "deterministic", "--invite", "abc"], 2, "coordinator invite"),
        (["start", "--engine", "deterministic", "--join", "a:b:c"], 2, "--join"),
        (["start", "--engine", "deterministic", "--min-battery", "200"], 2, "percentage"),
        (["start", "--engine-url", "http://127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["start", "--engine-url", "http://192.0.2.1:11434"], 1, "not on this device"),
        (["start", "--engine", "deterministic", "--context", "1"], 2, "2048"),
        (["start", "--engine", "deterministic", "--slots", "0"], 2, "--slots"),
        (["start", "--engine", "deterministic", "--slots", "65"], 2, "64"),
        (["pull", "x" * 300], 2, "no file"),
        (["start", "--port", "99999"], 2, "port"),
        (["start", "--speed", "fast"], 2, "READ:WRITE"),
        (["start", "--engine", "deterministic", "--name", "\x1b\n"], 2, "visible"),
        (["pull", "nowhere.gguf"], 2, "nowhere.gguf"),
        (["rm", "nothing"], 1, "nothing"),
    ],
)
def test_a_node_that_cannot_start_says_why(arguments: list[str], status: int, says: str, tmp_path: Path) -> None:
    """One sentence with the next step."""
    home = ["--home", str(tmp_path / "home")] if arguments[0] == "start" else []
    done = run("edgenode", *arguments, *home)
    assert (done.status, says in done.err) == (status, True), done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_second_node_on_a_home_is_refused(start_node: Start, tmp_path: Path) -> None:
    """The lock holds between processes."""
    node = start_node()
    done = run("edgenode", "start", "--engine", "deterministic", "--home", tmp_path / node.name)
    assert done.status == 1
    assert "--home" in done.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_node_stops_cleanly(start_node: Start, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: exit 0, nothing on standard error, and mDNS forgets it at once."""
    node = start_node()
    node.process.send_signal(how)
    _, err = node.process.communicate(timeout=PATIENCE)
    assert (node.process.returncode, err) == (0, "")
    listed = run("coordinator", "nodes", "--json").json["nodes"]
    assert node.name not in [each["name"] for each in listed]


def test_a_node_killed_in_mid_run_costs_no_answer(start_node: Start, lease: Path) -> None:
    """kill -9 while it reads: its work is done by the other node, and the answer is there."""
    doomed = start_node("--speed", "100:10")
    # So slow that the run goes on for seconds after the node has been killed, however late that is noticed.
    healthy = start_node("--speed", "2500:250")
    nodes = ("--node", doomed.name, "--node", healthy.name)
    with SupervisorServer() as supervisor:
        asking = subprocess.Popen(
            command("coordinator", "ask", "--read", "all", *nodes, lease, QUESTION),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | agreed(supervisor),
        )
        assert asking.stderr is not None
        # A node that joins a run is given its first lease in the same moment, which this one needs ten seconds for.
        while doomed.name not in (line := asking.stderr.readline()):
            assert line, "the run ended before the node joined in"
        doomed.process.kill()
        out, err = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 0, err
    assert f"Node {doomed.name} is gone" in err
    assert "0 failed" in out
    assert FACT in supervisor.requests[0].user


def test_when_the_last_node_dies_it_says_what_it_waits_for(start_node: Start, lease: Path) -> None:
    """One line before the silence, with how long it may last."""
    node = start_node("--speed", "100:10")
    with subprocess.Popen(
        command("coordinator", "ask", "--read", "all", "--node", node.name, lease, QUESTION), stderr=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stderr is not None
        lines = iter(asking.stderr.readline, "")
        assert any(f"Node {node.name}" in line for line in lines)
        node.process.kill()
        assert any(line == "No node is left. Waiting up to 30 s for one to come back.\n" for line in lines)
        asking.kill()


@pytest.mark.parametrize("json_too", [False, True])
def test_ctrl_c_ends_a_run_with_130(json_too: bool, start_node: Start, lease: Path) -> None:
    """Interrupted: one line that tells how to go on and what may have been paid for, status 130; with --json the run's id, too."""
    node = start_node()
    with SupervisorServer(Reply(hang=True)) as supervisor:
        asking = subprocess.Popen(
            command("coordinator", "ask", *(["--json"] if json_too else []), "--node", node.name, lease, QUESTION),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | agreed(supervisor),
        )
        supervisor.wait_for_requests(1)
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 130
    last = err.splitlines()[-1]
    run_id = re.search(r"Interrupted\..*may have been answered and charged.*coordinator resume (\S+) --again$", last)
    assert run_id, err
    assert "was under way" in last
    if json_too:
        told = json.loads(out)
        assert (told["run"], told["status"], told["error"]) == (run_id[1], "failed", last)
        assert told["findings"]["retrieved"] > 0
    else:
        assert out == ""


TELLS_WHEN_IT_LOADS = """
import sys
class Tell:
    def find_spec(self, name, path=None, target=None):
        if name == "coordinator.cli":
            sys.stdout.write("x")
            sys.stdout.flush()
sys.meta_path.insert(0, Tell())
from coordinator.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_in_the_first_moments_is_one_word() -> None:
    """Whenever it comes once our code runs, while modules load too: 130, or the signal itself at the very end; no traceback of
    ours."""
    for hundredths in range(0, 60, 10):
        process = subprocess.Popen(
            [sys.executable, "-c", TELLS_WHEN_IT_LOADS, "nodes", "--interface", "127.0.0.1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.read(1) == "x"
        time.sleep(0.01 + hundredths / 100)  # the moment is what is tried, and none of them is waited for
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in err, (hundredths, err)
        assert process.returncode in {130, 0, -signal.SIGINT}, (hundredths, out, err)


@pytest.mark.parametrize("closed", [1, 2])
@pytest.mark.parametrize(
    ("arguments", "status"), [(["coordinator", "runs"], 0), (["coordinator", "show", "last"], 1), (["edgenode", "--version"], 0)]
)
def test_a_stream_that_is_closed_is_output_nobody_wants(arguments: list[str], status: int, closed: int) -> None:
    """`>&-` and `2>&-`: the status as ever, nothing else, and no error among the results."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}>&-', *command(*arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if status:
        assert (done.stdout, bool(done.stderr)) == ("", closed == 1)
