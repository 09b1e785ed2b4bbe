"""The machine that says whether a node is there: each transition, and whatever may happen to a node, in time of its own."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.events import NodeState
from coordinator.scheduling import membership
from coordinator.scheduling.membership import Became, Close, Decision, Dial, Member, hold_off

JOINED, SUSPECT, GONE = NodeState.JOINED, NodeState.SUSPECT, NodeState.GONE


def dialled() -> Member:
    member = Member(0.0)
    assert member.tick(0.0) == [Dial()]
    return member


def joined() -> Member:
    member = dialled()
    assert member.connected(0.1) == [Became(JOINED, "")]
    return member


def states(decisions: list[Decision]) -> list[NodeState]:
    return [decision.state for decision in decisions if isinstance(decision, Became)]


def test_a_new_member_is_dialled_at_once_and_only_once() -> None:
    """Nothing but an event ends a dial."""
    member = dialled()
    assert member.wakes_at == math.inf
    assert member.tick(100.0) == []
    assert member.sighted(101.0) == []


def test_it_joins_when_the_stream_is_open() -> None:
    """The first connection is trusted with work at once."""
    member = joined()
    assert member.is_open
    assert member.state is JOINED
    assert member.why == ""


def test_a_stall_of_two_seconds_is_nothing() -> None:
    """A Pi that reads with all its cores is late with its heartbeat and stays joined."""
    member = joined()
    for second in range(1, 60, 2):
        assert member.tick(min(second + 1.9, member.wakes_at)) == []
        assert member.heard(float(second) + 2) == []
    assert member.state is JOINED


def test_silence_makes_suspect_and_a_frame_makes_joined_again() -> None:
    """What a silent node holds stays with it: its stream is open all the time."""
    member = joined()
    assert states(member.tick(3.1)) == [SUSPECT]
    assert member.is_open
    assert member.heard(3.5) == [Became(JOINED, "")]


def test_longer_silence_closes_the_stream_and_dials_again() -> None:
    """Six seconds: lost, in doubt until the new dial comes to nothing twice."""
    member = joined()
    member.tick(3.1)
    assert member.tick(6.1) == [Close("It was silent for 6 s."), Dial()]
    assert member.state is SUSPECT
    assert not member.is_open
    assert member.lost("too late", 6.2) == []


def test_a_timer_that_overslept_blames_nobody() -> None:
    """When this process stood still the node has a second to be heard, and no more."""
    member = joined()
    assert member.tick(60.0) == []
    assert member.wakes_at == pytest.approx(61.0)
    assert states(member.tick(61.0)) == [SUSPECT]
    assert member.tick(80.0) == []
    assert any(isinstance(decision, Close) for decision in member.tick(member.wakes_at))


def test_a_lost_stream_is_dialled_at_once() -> None:
    """A killed node is suspect at once, and gone when two dials came to nothing."""
    member = joined()
    assert member.lost("The connection broke.", 5.0) == [Became(SUSPECT, "The connection broke."), Dial()]
    assert member.failed("It cannot be reached.", 5.0) == []
    assert member.wakes_at == pytest.approx(5.2)
    assert member.tick(5.2) == [Dial()]
    assert member.failed("It cannot be reached.", 5.3) == [Became(GONE, "It cannot be reached.")]


def test_a_gone_node_is_dialled_for_ever() -> None:
    """Dials that end at their limit are followed at once by the next, those that fail at once start 2 s apart."""
    for lasts in (0.0, membership.DIAL_LIMIT_SECONDS):
        member = dialled()
        started, gaps = 0.0, []
        for _ in range(50):
            member.failed("It cannot be reached.", started + lasts)
            assert member.tick(member.wakes_at) == [Dial()] or member.state is GONE
            gaps.append(member._dialled - started)
            started = member._dialled
        assert member.state is GONE
        assert max(gaps) < max(2.0, lasts + 0.2) + 0.01
        assert min(gaps) >= 0.2


def test_a_sighting_hastens_the_next_dial() -> None:
    """A record is a nudge, but a flood of them is no flood of dials."""
    member = dialled()
    for _ in range(4):
        member.failed("It cannot be reached.", member._dialled)
        member.tick(member.wakes_at)
    member.failed("It cannot be reached.", member._dialled)
    before = member._dialled
    assert member.sighted(before + 0.1) == []
    assert member.wakes_at == pytest.approx(before + 1.0)
    assert member.sighted(before + 1.0) == [Dial()]


def test_a_goodbye_is_believed_of_nodes_without_a_stream() -> None:
    """Anybody can send one: a stream that is open says more, and once it ends the goodbye was true."""
    member = joined()
    assert member.goodbye(1.0) == []
    assert member.lost("The node closed the connection.", 2.0) == [Became(GONE, "The node closed the connection."), Dial()]
    member.failed("It cannot be reached.", 2.1)
    assert states(member.sighted(2.2)) == [SUSPECT]
    assert states(member.goodbye(2.3)) == [GONE]


def test_a_refused_node_waits_for_somebody_to_act() -> None:
    """Found, but not connected: dialled seldom, and the reason stays."""
    member = dialled()
    assert member.refused("Its clock is off.", 1.0) == []
    assert (member.state, member.why) == (SUSPECT, "Its clock is off.")
    assert not member.is_undecided
    assert member.wakes_at == 6.0
    assert member.tick(6.0) == [Dial()]
    assert states(member.connected(6.1)) == [JOINED]


def test_one_return_is_never_delayed() -> None:
    """However long it was away, the first return within a minute brings work at once."""
    member = joined()
    for start in (100.0, 200.0, 300.0):
        member.heard(start - 0.1)
        member.lost("The connection broke.", start)
        assert states(member.connected(start + 0.5)) == [JOINED]


def test_flapping_is_damped() -> None:
    """After the second loss within a minute it must stay for a second to get work, then for two, four and so on."""
    member = joined()
    now, holds = 1.0, []
    for _ in range(5):
        member.lost("The connection broke.", now)
        now = max(now, member.wakes_at if member.wakes_at < math.inf else now)
        member.tick(now)
        came = now
        member.connected(now)
        while member.state is not JOINED:
            now = min(now + 1.0, member.wakes_at)
            member.heard(now)
        holds.append(now - came)
    assert holds == [0.0, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(("losses", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (1000, 30)])
def test_the_hold_off_grows_to_its_limit(losses: int, seconds: float) -> None:
    """The formula, in a table."""
    assert hold_off(losses) == seconds


EVENTS = ("sighted", "goodbye", "connected", "heard", "lost", "failed", "refused", "tick")


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.floats(0.0, 10.0)), max_size=80))
def test_any_order_of_events_keeps_the_promises(events: list[tuple[str, float]]) -> None:
    """One dial or stream at a time, joined only with a stream, and always something to wait for."""
    member = Member(0.0)
    now, dialling, is_open = 0.0, False, False
    for event, pause in events:
        now += pause
        match event:
            case "connected":
                decisions, dialling, is_open = member.connected(now), False, True
            case "lost":
                decisions, is_open = member.lost("It broke.", now), False
            case "failed" | "refused":
                decisions = getattr(member, event)("In vain.", now)
                dialling = False
            case _:
                decisions = getattr(member, event)(now)
        for decision in decisions:
            match decision:
                case Dial():
                    assert not dialling
                    assert not is_open
                    dialling = True
                case Close():
                    assert is_open
                    is_open = False
                case Became(state):
                    assert state is member.state
        assert member.is_open is is_open
        assert is_open or member.state is not JOINED
        assert (member.state is JOINED) == (member.why == "")
        assert member.wakes_at > now
        assert dialling == (member.wakes_at == math.inf)


@dataclass
class World:
    """A node that is there except during its faults. A dial sends a packet at once, after 1 s and after 3 s, and ends after 4."""

    faults: list[tuple[float, float, bool]]
    """From, to, and whether an open stream breaks at once (else it falls silent)."""
    member: Member = field(default_factory=lambda: Member(0.0))
    now: float = 0.0
    dial: float | None = None
    joined_at: list[float] = field(default_factory=list)

    def fault(self) -> tuple[float, float, bool] | None:
        return next((fault for fault in self.faults if fault[0] <= self.now < fault[1]), None)

    def follow(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Dial():
                    assert self.dial is None, "dialled twice at once"
                    assert not self.member.is_open
                    self.dial = self.now
                case Became(NodeState.JOINED):
                    self.joined_at.append(self.now)

    def step(self) -> None:
        self.now += 0.05
        self.follow(self.member.tick(self.now) if self.now >= self.member.wakes_at else [])
        fault = self.fault()
        if self.dial is not None and fault is None and round((self.now - self.dial) * 20) in (1, 20, 60):
            self.dial = None
            self.follow(self.member.connected(self.now))
        elif self.dial is not None and (self.now >= self.dial + 4 or (fault is not None and fault[2])):
            self.dial = None
            self.follow(self.member.failed("It cannot be reached.", self.now))
        elif self.member.is_open and fault is not None and fault[2]:
            self.follow(self.member.lost("The connection broke.", self.now))
        elif self.member.is_open and fault is None and round(self.now * 20) % 20 == 0:
            self.follow(self.member.heard(self.now))
        assert self.member.state is not JOINED or self.member.is_open


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 20.0), st.floats(0.05, 20.0), st.booleans()), max_size=8))
def test_whatever_befell_it_a_node_is_back_soon_after_the_last_fault(gaps: list[tuple[float, float, bool]]) -> None:
    """Within five seconds and the hold-off that its losses have earned, which has a limit; and then it stays."""
    faults, at = [], 0.0
    for pause, lasts, breaks in gaps:
        faults.append((at + pause, at + pause + lasts, breaks))
        at += pause + lasts
    world = World(faults)
    while world.now < at:
        world.step()
    end = at + 5.0 + membership.MAX_HOLD_SECONDS
    while world.member.state is not JOINED:
        world.step()
        assert world.now < end
    times = len(world.joined_at)
    while world.now < end + 10:
        world.step()
    assert world.member.state is JOINED
    assert len(world.joined_at) == times or world.joined_at[-1] < at + 7


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5, 5.0), st.floats(0.05, 30.0), st.booleans())
def test_a_single_return_takes_less_than_five_seconds(start: float, lasts: float, breaks: bool) -> None:
    """A cut cable, a frozen process, a kill: noticed within five seconds, and back within five of the return."""
    world = World([(start, start + lasts, breaks)])
    while world.now < start:
        world.step()
    was_joined = world.member.state is JOINED
    while world.now < start + lasts:
        world.step()
        noticed = world.member.state is not JOINED
        assert noticed or not was_joined or world.now < start + 5 or world.fault() is None
    while world.member.state is not JOINED:
        world.step()
        assert world.now < start + lasts + 5
