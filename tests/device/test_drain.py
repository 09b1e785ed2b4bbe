"""When a device takes no work: pure policy with its hysteresis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.device.drain import HOT_SECONDS, LEAST_DRAIN_SECONDS, SILENT_SECONDS, DrainPolicy
from edgenode.device.status import Reading, Sensor
from edgenode.types import DeviceStatus

PI = Sensor("processor", 0, 80, 70)


def on_battery(percent: float | None, charging: bool | None = False) -> Reading:
    return Reading(DeviceStatus(battery_percent=percent, charging=charging))


def heated(*celsius: float) -> Reading:
    return Reading(sensors=tuple(Sensor("processor", each, 80, 70) for each in celsius))


def decisions(policy: DrainPolicy, readings: list[Reading], seconds: float = LEAST_DRAIN_SECONDS) -> list[bool]:
    return [bool(policy.decide(reading, number * seconds)) for number, reading in enumerate(readings)]


def test_the_reason_is_a_sentence() -> None:
    """It says why and until when, and follows the battery down."""
    policy = DrainPolicy()
    assert policy.decide(on_battery(14.9), 0) == "on battery at 14 %: takes no work until it charges or reaches 30 %"
    assert policy.decide(on_battery(13), 5) == "on battery at 13 %: takes no work until it charges or reaches 30 %"
    hot = DrainPolicy()
    hot.decide(heated(84), 0)
    assert hot.decide(heated(84), HOT_SECONDS) == "too hot (processor at 84 °C): takes no work until it has cooled to 70 °C"
    assert "84 °C" in hot.decide(heated(82), HOT_SECONDS + 5)


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([on_battery(21), on_battery(20), on_battery(19.9)], [False, False, True]),
        ([on_battery(19), on_battery(25), on_battery(29.9), on_battery(30)], [True, True, True, False]),
        ([on_battery(19), on_battery(19, True), on_battery(19)], [True, False, True]),
        ([on_battery(5, True)], [False]),
        ([on_battery(5, None), on_battery(25, None), on_battery(31, None)], [True, True, False]),
        ([on_battery(None), on_battery(19), on_battery(None, None)], [False, True, True]),
    ],
)
def test_low_battery(readings: list[Reading], expected: list[bool]) -> None:
    """Below 20 % and not charging until 30 % or charging; what is not told changes nothing."""
    assert decisions(DrainPolicy(), readings) == expected


def test_never_for_the_battery_when_told_so() -> None:
    """`--min-battery 0`."""
    assert decisions(DrainPolicy(0), [on_battery(0), on_battery(1)]) == [False, False]


def test_a_high_minimum_can_be_reached() -> None:
    """No battery has more than 100 %."""
    assert decisions(DrainPolicy(95), [on_battery(94), on_battery(100)]) == [True, False]


def test_a_loose_cable_does_not_turn_work_on_and_off() -> None:
    """Once begun it lasts half a minute."""
    policy = DrainPolicy()
    readings = [on_battery(14, number % 2 == 1) for number in range(6)]
    assert decisions(policy, readings, 5.0) == [True] * 6


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        ([79.9] * 6, [False] * 6),
        ([80, 80, 80, 80], [False, False, False, True]),
        ([80, 90, 79, 80, 80, 80, 80], [False] * 6 + [True]),
        ([85, 85, 85, 85, 75, 71, 70, 79], [False, False, False, True, True, True, False, False]),
    ],
)
def test_heat(degrees: list[float], expected: list[bool]) -> None:
    """Hot for a quarter of a minute, not for a moment; then until it is 10 °C cooler."""
    assert decisions(DrainPolicy(), [heated(each) for each in degrees], 5.0) == expected


def test_the_sensor_nearest_its_own_limit_counts() -> None:
    """A laptop's processor at 95 °C of 102 is well, a phone's battery at 46 of 45 is not; the one that was hot must cool."""
    policy = DrainPolicy()
    laptop = Sensor("processor", 95, 102, 92)
    for now in (0.0, HOT_SECONDS):
        reason = policy.decide(Reading(sensors=(laptop, Sensor("battery", 46, 45, 41))), now)
    assert reason == "too hot (battery at 46 °C): takes no work until it has cooled to 41 °C"
    assert policy.decide(Reading(sensors=(laptop, Sensor("battery", 42, 45, 41))), 20)
    assert not policy.decide(Reading(sensors=(laptop, Sensor("battery", 41, 45, 41))), 25)


def test_both_reasons_are_told() -> None:
    """An overheated phone with an empty battery."""
    policy = DrainPolicy()
    both = Reading(DeviceStatus(10, False), (Sensor("battery", 50, 45, 41),))
    policy.decide(both, 0)
    reason = policy.decide(both, HOT_SECONDS)
    assert "10 %" in reason
    assert "50 °C" in reason


def test_a_sensor_that_fell_silent_does_not_stop_the_device_for_ever() -> None:
    """A battery that was taken out, a driver that was unloaded: after two minutes it counts no more."""
    policy = DrainPolicy()
    low_and_hot = Reading(DeviceStatus(10, False), heated(90).sensors)
    policy.decide(low_and_hot, 0)
    assert policy.decide(low_and_hot, HOT_SECONDS)
    assert policy.decide(Reading(), HOT_SECONDS + SILENT_SECONDS)
    assert not policy.decide(Reading(), HOT_SECONDS + SILENT_SECONDS + 1)


@given(
    st.lists(
        st.builds(
            Reading,
            st.builds(DeviceStatus, st.none() | st.floats(0, 100), st.none() | st.booleans()),
            st.lists(st.builds(lambda heat: Sensor("processor", heat, 80, 70), st.floats(1, 130)), max_size=2).map(tuple),
        ),
        max_size=60,
    )
)
def test_it_does_not_flap(readings: list[Reading]) -> None:
    """Whatever a device reads, each cause that has begun lasts: the battery's for half a minute, heat's until all is cool; and
    no device drains with a battery that is full enough and sensors that are cool."""
    policy = DrainPolicy()
    began = None
    for number, reading in enumerate(readings):
        now = number * 5.0
        reason = policy.decide(reading, now)
        if "battery at" in reason and began is None:
            began = now
        if "battery at" not in reason and began is not None:
            assert now - began >= LEAST_DRAIN_SECONDS
            began = None
        if "too hot" in reason and reading.sensors:
            assert any(sensor.celsius > 70 for sensor in reading.sensors)
        percent = reading.status.battery_percent
        if began is None and percent is not None and percent < 20 and reading.status.charging is not True:
            raise AssertionError("a low battery must drain")
