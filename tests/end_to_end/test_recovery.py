"""Coordinators that are killed at any moment, and what `resume`, `runs` and `show` make of it: real processes, real faults."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coordinator.errors import RunError
from coordinator.runs.folders import list_runs
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.story import story_json, story_of
from tests.end_to_end.pools import FACT, PATIENCE, QUESTION, Ran, RunningNode, agreed, command, run
from tests.supervisor_server import Reply, SupervisorServer, completion

Start = Callable[..., RunningNode]
Condition = Callable[[Journal], object]

# About a fifth of a second for each chunk: slow enough to be killed between any two of them.
SLOW = ("--speed", "3000:300")


def runs() -> Path:
    return Path(os.environ["EDGENODE_DATA"]) / "runs"


def looked_at(condition: Condition) -> bool:
    """Whether the condition holds of the newest run, as another process sees it."""
    kept = list_runs(runs())
    try:
        with Journal.look(runs(), kept[-1]) as journal:
            return bool(condition(journal))
    except (IndexError, RunError):
        return False  # not there yet, or not whole yet


@contextmanager
def coordinator(*arguments: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A coordinator that is killed when the context ends, if it has not been by then."""
    process = subprocess.Popen(
        command("coordinator", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def wait_for(process: subprocess.Popen[str], condition: Condition) -> None:
    """Until the journal of the run says so; the process must not have ended without that."""
    deadline = time.monotonic() + PATIENCE
    while True:
        is_last = process.poll() is not None
        if looked_at(condition):
            return
        assert not is_last, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)  # between two looks at the file


def kill_when(condition: Condition, *arguments: str | Path, **environment: str) -> None:
    """Runs a coordinator and kills it with signal 9 as soon as the journal says so."""
    with coordinator(*arguments, **environment) as process:
        wait_for(process, condition)
        process.kill()
        assert process.wait(timeout=PATIENCE) == -signal.SIGKILL


def found(count: int) -> Condition:
    return lambda journal: len(journal.ended_subtasks()) >= count


def show() -> Any:
    """What `coordinator show last --json` prints, without a process for it."""
    with Journal.look(runs(), "last") as journal:
        return story_json(story_of(journal))


def answered(done: Ran) -> Any:
    assert (done.status, done.json["status"]) == (0, "answered"), done.err
    return done.json


def test_killed_again_and_again_a_run_ends_as_if_it_had_not_been(start_node: Start, lease: Path) -> None:
    """Killed before there was a plan, right after, and twice while reading: the request is that of a healthy run to the byte, no
    subtask was done twice, and one request was paid for. A smaller node that joins in later does not change the chunks."""
    ask = ("ask", "--json", "--read", "all", lease, QUESTION)
    with SupervisorServer() as supervisor:
        url = agreed(supervisor)
        node = start_node(*SLOW)
        nodes = ("--node", node.name)
        healthy = answered(run("coordinator", *ask, *nodes, **url))
        kill_when(lambda journal: journal.value("kept") and journal.run != healthy["run"], *ask, *nodes, **url)
        resume = ("resume", "--json", "last", *nodes)
        kill_when(lambda journal: journal.value("plan"), *resume, **url)
        kill_when(found(3), *resume, **url)
        # Not faster: with much left to read the kill comes before the end also where it comes late.
        start_node("--speed", "1000:100", "--context", "2048")
        kill_when(found(5), "resume", "--json", "last", **url)
        resumed = answered(run("coordinator", "resume", "--json", "last", **url))
        assert len(supervisor.requests) == 2
        assert supervisor.requests[0].body == supervisor.requests[1].body
    assert resumed["run"] != healthy["run"]
    assert resumed["findings"] == healthy["findings"]
    assert resumed["citations"] == healthy["citations"]
    story = show()
    assert story["sittings"] == 5
    assert story["plan"]["subtasks"] == story["subtasks_ended"] == sum(each["subtasks"] for each in resumed["nodes"])
    assert sum(each["subtasks"] for each in resumed["nodes"]) == sum(each["subtasks"] for each in healthy["nodes"])


def test_killed_at_each_stage_a_run_ends_as_if_it_had_not_been(start_node: Start, lease: Path) -> None:
    """Killed before anything is kept, after the first finding, in the middle, between reading and the request, during the request,
    and when the reply is there but no answer: the answer is that of a healthy run, no subtask is done twice, one reply is paid for,
    and what was cut off is asked again only when told to. On a busy machine a stage may be over before it is seen."""

    node = start_node(*SLOW)
    with SupervisorServer(completion(), Reply(hang=True)) as supervisor:
        url = agreed(supervisor)
        ask = ("ask", "--json", "--read", "all", "--node", node.name, lease, QUESTION)
        healthy = answered(run("coordinator", *ask, **url))
        with Journal.look(runs(), healthy["run"]) as journal:
            whole = len(journal.ended_subtasks())
        stages: tuple[Condition, ...] = (
            lambda journal: True,
            found(1),
            found(whole // 2),
            lambda journal: journal.value("read"),
            lambda journal: journal.ledger.unsure() and len(supervisor.requests) > 1,
            lambda journal: any(record.reply for record in journal.ledger.records()),
        )
        resume = ("resume", "--json", "last", "--node", node.name)
        before = list_runs(runs())
        for stage in stages:

            def reached(journal: Journal, stage: Condition = stage) -> object:
                return journal.run not in before and stage(journal)

            with coordinator(*next_command(before, ask, resume), **url) as process:
                deadline = time.monotonic() + PATIENCE
                while process.poll() is None and not looked_at(reached):
                    assert time.monotonic() < deadline
                    time.sleep(0.002)  # between two looks at the file
                process.kill()
        resumed = answered(run("coordinator", *next_command(before, ask, resume), **url))
        assert {request.body for request in supervisor.requests} == {supervisor.requests[0].body}
        # The healthy run's, the one that was cut off, and the one that was told to be sent.
        assert len(supervisor.requests) == 3
    assert resumed["run"] != healthy["run"]
    assert (resumed["answer"], resumed["citations"]) == (healthy["answer"], healthy["citations"])
    assert resumed["findings"] == healthy["findings"]
    story = show()
    assert story["plan"]["subtasks"] == story["subtasks_ended"] == sum(each["subtasks"] for each in resumed["nodes"])
    assert [request["status"] for request in story["requests"]] == [None, 200]


def next_command(before: Collection[str], ask: Sequence[str | Path], resume: Sequence[str | Path]) -> Sequence[str | Path]:
    """How a person goes on after the coordinator died: as it then says."""
    newest = list_runs(runs())[-1]
    if newest in before or not looked_at(lambda journal: journal.value("kept")):
        return ask
    return (*resume, "--again") if looked_at(lambda journal: journal.ledger.unsure() is not None) else resume


def test_a_reply_that_arrived_is_not_paid_for_again(start_node: Start, lease: Path) -> None:
    """Killed as soon as the reply is in the ledger, and resumed twice: the answer is the paid one, from one request."""
    node = start_node()
    with SupervisorServer() as supervisor:
        url = agreed(supervisor)
        arguments = ("ask", "--json", "--node", node.name, lease, QUESTION)
        with coordinator(*arguments, **url) as process:
            wait_for(process, lambda journal: [each.reply for each in journal.ledger.records() if each.reply])
            process.kill()
        for _ in range(2):
            resumed = answered(run("coordinator", "resume", "--json", "last", **url))
            assert resumed["answer"] == "The deposit is returned within six weeks."
        assert len(supervisor.requests) == len(resumed["ledger"]["requests"]) == 1


def test_what_nobody_can_know_is_said_and_not_paid_for_unasked(start_node: Start, lease: Path) -> None:
    """Killed while the supervisor had the request: `resume` says that it may have been paid for and sends nothing; `--again` does,
    with the same idempotency key, so that a supervisor that honours it charges once."""
    node = start_node()
    with SupervisorServer(Reply(hang=True)) as supervisor:
        url = agreed(supervisor)
        with coordinator("ask", "--json", "--node", node.name, lease, QUESTION, **url) as process:
            supervisor.wait_for_requests(1)
            process.kill()
        refused = run("coordinator", "resume", "--json", "last", **url)
        assert refused.status == 1
        assert "cannot be known" in refused.json["error"]
        assert f"coordinator resume {refused.json['run']} --again" in refused.json["error"]
        assert len(supervisor.requests) == 1
        assert "whether it was answered and charged is not known" in run("coordinator", "show", "last").out
        again = answered(run("coordinator", "resume", "--json", "--again", "last", **url))
        first, second = supervisor.requests
        assert first.body == second.body
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert answered(run("coordinator", "resume", "--json", "last", **url))["answer"] == again["answer"]
        assert len(supervisor.requests) == 2


def test_a_document_that_changed_stops_the_reading_and_destroys_nothing(start_node: Start, lease: Path) -> None:
    """Changed, then gone, then back: two sentences, and then the run goes on with what it had."""
    node = start_node(*SLOW)
    kill_when(found(2), "ask", "--read", "all", "--node", node.name, lease, QUESTION)
    kept = show()["subtasks_ended"]
    text = lease.read_text()
    for change, says in ((lambda: lease.write_text(text + "One more rule."), "has changed"), (lease.unlink, "is no longer at")):
        change()
        refused = run("coordinator", "resume", "--json", "last", "--node", node.name)
        assert refused.status == 1
        assert f"{lease} {says}" in refused.err
        assert "kept" in refused.err
        assert show()["subtasks_ended"] == kept
    lease.write_text(text)
    assert answered_at_home(run("coordinator", "resume", "--json", "last", "--node", node.name))
    assert show()["subtasks_ended"] == show()["plan"]["subtasks"] > kept


def answered_at_home(done: Ran) -> bool:
    """The test engine may find or not find; it must not fail."""
    return done.status in {0, 3} and done.json["answered_by"] == "home"


def test_a_full_disk_ends_the_run_with_a_sentence_and_it_goes_on(start_node: Start, lease: Path) -> None:
    """The kernel refuses to let the journal grow in the middle of the reading; with room again the rest is read."""
    node = start_node()
    arguments = command("coordinator", "ask", "--json", "--read", "all", "--node", node.name, lease, QUESTION)
    full = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    assert "free space" in full.stderr
    story = show()
    assert f"coordinator resume {story['run']}" in full.stderr
    assert story["plan"] is None or story["subtasks_ended"] < story["plan"]["subtasks"]
    assert answered_at_home(run("coordinator", "resume", "--json", "last", "--node", node.name))
    assert show()["subtasks_ended"] == show()["plan"]["subtasks"]


def test_a_run_at_work_is_listed_and_not_to_be_resumed(start_node: Start, lease: Path) -> None:
    """Another process sees its question and its status, and is told to wait; what it holds is not disturbed. Killed, it is
    interrupted, and tells how to go on."""
    node = start_node("--speed", "200:20")
    with coordinator("ask", "--read", "all", "--node", node.name, lease, QUESTION) as process:
        wait_for(process, lambda journal: journal.value("plan"))
        (listed,) = run("coordinator", "runs", "--json").json["runs"]
        assert (listed["status"], listed["question"]) == ("running", QUESTION)
        refused = run("coordinator", "resume", listed["run"][:8])
        assert refused.status == 1
        # Other tests forge nodes on the same loopback, and of hundreds of them it is warned.
        told = [line for line in refused.err.splitlines() if "announce themselves by mDNS" not in line]
        assert told == [f"The run {listed['run']} is in use by another coordinator. Wait until that one ends."]
        assert "running" in run("coordinator", "show", "last").out
        assert process.poll() is None
    assert [each["status"] for each in run("coordinator", "runs", "--json").json["runs"]] == ["interrupted"]
    assert f"Go on with: coordinator resume {listed['run']}" in run("coordinator", "show", "last").out


def test_the_story_tells_of_a_node_that_died(start_node: Start, lease: Path) -> None:
    """What each node did and how fast, that one of them was lost with its work, and what was sent."""
    doomed = start_node("--speed", "100:10")
    # So slow that the run goes on for seconds after the node has been killed, however late that is noticed.
    healthy = start_node("--speed", "2500:250")
    with SupervisorServer() as supervisor:
        nodes = ("--node", doomed.name, "--node", healthy.name)
        url = agreed(supervisor)
        with coordinator("ask", "--read", "all", *nodes, lease, QUESTION, **url) as process:
            wait_for(process, lambda journal: [each for each in journal.events() if each.value.get("node") == doomed.told["id"]])
            doomed.process.kill()
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
        assert FACT in supervisor.requests[0].user
    story = run("coordinator", "show", "last", "--json").json
    assert (story["status"], story["question"]) == ("answered", QUESTION)
    by_name = {each["name"]: each for each in story["nodes"]}
    assert by_name[healthy.name]["subtasks"] == story["plan"]["subtasks"]
    assert by_name[healthy.name]["tokens_per_second"] > 300
    assert by_name[healthy.name]["counts"]["leased"] > 0
    kinds = {each["kind"] for each in story["events"]}
    assert {"sitting", "joined", "planned", "leased", "gone", "aggregating", "ended"} <= kinds
    assert [each["state"] for each in story["requests"]] == [RequestState.ENDED]
    told = run("coordinator", "show", story["run"][:-1]).out
    assert f"{doomed.name} is gone" in told
    assert f"{healthy.name} (" in told
    assert "HTTP status 200" in told
    line = run("coordinator", "runs").out
    assert QUESTION in line
    assert story["run"] in line


@pytest.mark.parametrize("arguments", [("show", "last"), ("resume", "2026")])
def test_no_such_run_is_a_sentence(arguments: tuple[str, ...]) -> None:
    """Nothing kept, nothing meant: exit 1 and one line."""
    done = run("coordinator", *arguments)
    assert (done.status, done.out) == (1, "")
    assert "There are no runs yet." in done.err


def test_a_run_goes_on_with_the_nodes_that_it_was_asked_of(start_node: Start, lease: Path) -> None:
    """Whose documents only one device may read, they are not read by others when the run is resumed, unless that is asked for."""
    # Slow enough to be killed in the middle, however late it is.
    chosen, other = start_node("--speed", "500:50"), start_node()
    for named, readers in (((), {chosen.name}), (("--node", other.name), {chosen.name, other.name})):
        before = list_runs(runs())

        def begun(journal: Journal, before: Collection[str] = before) -> bool:
            return journal.run not in before and bool(journal.ended_subtasks())

        kill_when(begun, "ask", "--read", "all", "--node", chosen.name, lease, QUESTION)
        assert show()["subtasks_ended"] < show()["plan"]["subtasks"]
        assert answered_at_home(run("coordinator", "resume", "--json", "last", *named))
        assert {each["name"] for each in show()["nodes"]} == readers
