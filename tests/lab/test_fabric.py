"""What the lab's switch does with frames. No network is needed: time is passed in."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.switch import QUEUE_FRAMES, Fabric, Line

BROADCAST = b"\xff" * 6


def address(port: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, port))


def frame(source: int, target: bytes, text: bytes = b"") -> bytes:
    return target + address(source) + b"\x08\x00" + text


def introduced(ports: int, seed: int = 0) -> Fabric:
    """A fabric that has learnt where everybody is."""
    fabric = Fabric(ports, seed)
    for port in range(ports):
        fabric.take(port, frame(port, BROADCAST), 0.0)
    list(fabric.due(0.0))
    return fabric


def test_an_unknown_address_is_sent_everywhere_and_a_known_one_to_its_port() -> None:
    """A frame goes to all other ports until its target has been heard of."""
    fabric = Fabric(3, 0)
    fabric.take(0, frame(0, address(2)), 0.0)
    assert [port for port, _ in fabric.due(0.0)] == [1, 2]
    fabric.take(2, frame(2, address(0)), 0.0)
    assert [port for port, _ in fabric.due(0.0)] == [0]
    fabric.take(0, frame(0, address(2)), 0.0)
    assert [port for port, _ in fabric.due(0.0)] == [2]


def test_multicast_is_kept_back_and_what_unicast_needs_passes() -> None:
    """With multicast off the groups of mDNS get nothing; broadcast and neighbour discovery go on."""
    fabric = introduced(2)
    fabric.multicast = False
    kept_back = [b"\x01\x00\x5e\x00\x00\xfb", b"\x33\x33\x00\x00\x00\xfb"]
    passing = [BROADCAST, b"\x33\x33\xff\x00\x00\x02", b"\x33\x33\x00\x00\x00\x01", address(1)]
    for target in kept_back + passing:
        fabric.take(0, frame(0, target), 0.0)
    assert [sent[:6] for _, sent in fabric.due(0.0)] == passing


PORTS = st.integers(0, 2)


@given(st.lists(st.tuples(PORTS, PORTS, st.integers(0, 5)), max_size=60), st.floats(0, 1), st.integers(0, 20), st.integers(0, 20))
def test_frames_arrive_in_order_at_their_port_or_not_at_all(
    sendings: Sequence[tuple[int, int, int]], loss: float, delay: int, jitter: int
) -> None:
    """Whatever the lines do, nothing arrives twice, elsewhere, out of order or before its time."""
    fabric = introduced(3)
    for port in range(3):
        fabric.set_line(port, Line(loss, loss / 2, delay, jitter))
    now = 0
    sent = []
    arrived = []
    for number, (source, target, pause) in enumerate(sendings):
        now += pause
        arrived += [(now, port, each) for port, each in fabric.due(now)]
        sent.append((now + delay, source, target, frame(source, address(target), b"%d" % number)))
        fabric.take(source, sent[-1][-1], now)
    arrived += [(now + delay + jitter, port, each) for port, each in fabric.due(now + delay + jitter)]
    assert fabric.next_due() is None
    for here in range(3):
        expected = iter([(due, each) for due, source, target, each in sent if target == here != source])
        for when, each in [(when, each) for when, port, each in arrived if port == here]:
            assert any(each == sent_frame and when >= due for due, sent_frame in expected)
    if not loss:
        assert len(arrived) == sum(1 for source, target, _ in sendings if source != target)


def test_the_same_seed_loses_the_same_frames() -> None:
    """Loss can be repeated, and a share is about the share that was asked for."""

    def survivors(seed: int) -> list[bytes]:
        fabric = introduced(2, seed)
        fabric.set_line(1, Line(lost_to_host=0.25))
        for number in range(QUEUE_FRAMES):
            fabric.take(0, frame(0, address(1), b"%d" % number), 0.0)
        return [each for _, each in fabric.due(0.0)]

    assert survivors(7) == survivors(7) != survivors(8)
    assert 0.7 < len(survivors(7)) / QUEUE_FRAMES < 0.8


def test_loss_in_one_direction_leaves_the_other() -> None:
    """A muted host hears, a deaf one is heard."""
    fabric = introduced(2)
    fabric.set_line(1, Line(lost_from_host=1.0))
    fabric.take(0, frame(0, address(1)), 0.0)
    fabric.take(1, frame(1, address(0)), 0.0)
    assert [port for port, _ in fabric.due(0.0)] == [1]
    fabric.set_line(1, Line(lost_to_host=1.0))
    fabric.take(0, frame(0, address(1)), 0.0)
    fabric.take(1, frame(1, address(0)), 0.0)
    assert [port for port, _ in fabric.due(0.0)] == [0]


def test_the_queue_of_a_slow_line_is_bounded() -> None:
    """A host that cannot keep up costs no memory without end; its oldest frames arrive."""
    fabric = introduced(2)
    fabric.set_line(1, Line(delay=10.0))
    for number in range(QUEUE_FRAMES + 50):
        fabric.take(0, frame(0, address(1), b"%d" % number), 0.0)
    assert fabric.next_due() == 10.0
    arrived = list(fabric.due(10.0))
    assert len(arrived) == QUEUE_FRAMES
    assert arrived[-1][1].endswith(b"%d" % (QUEUE_FRAMES - 1))
