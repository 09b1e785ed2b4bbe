"""How a device fares, read from kernels, phones and platforms as they are found in homes."""

import asyncio
import json
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.device.status import Reading, Sensor, cores, memory_bytes, merged, portable_reading
from edgenode.device.sysfs import LinuxFiles
from edgenode.device.termux import TermuxBattery, parse_battery_status
from edgenode.device.watch import DeviceWatch, rounded, usual_sources
from edgenode.types import DeviceStatus
from tests.logged import ours

SUPPLY = "sys/class/power_supply"
ZONES = "sys/class/thermal"
HWMON = "sys/class/hwmon"


def files(root: Path, content: dict[str, str]) -> Path:
    """Writes files below `root`, as the kernel ends them: with a line feed."""
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return root


def supply(name: str, **fields: object) -> dict[str, str]:
    return {f"{SUPPLY}/{name}/{field}": str(value) for field, value in fields.items()}


def battery(root: Path, *supplies: dict[str, str]) -> tuple[float | None, bool | None]:
    for each in supplies:
        files(root, each)
    status = LinuxFiles(root, "x86_64").read().status
    return status.battery_percent, status.charging


def zone(number: int, kind: str, temp: object, **trips: int) -> dict[str, str]:
    folder = f"{ZONES}/thermal_zone{number}"
    found = {f"{folder}/type": kind, f"{folder}/temp": str(temp)}
    for index, (trip, heat) in enumerate(trips.items()):
        found |= {f"{folder}/trip_point_{index}_type": trip, f"{folder}/trip_point_{index}_temp": str(heat)}
    return found


def sensors(root: Path, machine: str, *content: dict[str, str]) -> tuple[Sensor, ...]:
    for each in content:
        files(root, each)
    return LinuxFiles(root, machine).read().sensors


def test_a_device_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    """No files at all: no status, no sensor, no error."""
    assert LinuxFiles(tmp_path).read() == Reading()


def test_one_battery(tmp_path: Path) -> None:
    """A laptop that runs on its battery."""
    assert battery(tmp_path, supply("BAT0", type="Battery", capacity=63, status="Discharging")) == (63, False)


@pytest.mark.parametrize(
    ("state", "online", "charging"),
    [
        ("Charging", 1, True),
        ("Full", 1, True),
        ("Not charging", 1, True),
        ("Not charging", 0, False),
        ("Unknown", 1, True),
        ("Unknown", 0, False),
        ("Discharging", 1, False),
        ("Full", None, True),
        ("Not charging", None, True),
        ("Unknown", None, None),
        ("", None, None),
        ("Entladen", None, None),
    ],
)
def test_whether_it_lives_on_the_plug(tmp_path: Path, state: str, online: int | None, charging: bool | None) -> None:
    """A battery that fills or empties settles it; one at rest leaves it to the plug."""
    plug = supply("AC", type="Mains", online=online) if online is not None else {}
    assert battery(tmp_path, supply("BAT0", type="Battery", capacity=50, status=state), plug) == (50, charging)


def test_two_batteries_count_by_their_size(tmp_path: Path) -> None:
    """A small full one beside a large empty one; one empties while the other rests."""
    small = supply("BAT0", type="Battery", capacity=100, status="Unknown", energy_full=10_000_000, energy_now=10_000_000)
    large = supply("BAT1", type="Battery", capacity=10, status="Discharging", energy_full=40_000_000, energy_now=4_000_000)
    assert battery(tmp_path, small, large) == (28, False)


def test_two_batteries_of_unknown_size_count_alike(tmp_path: Path) -> None:
    """Where one does not tell its size, neither is believed."""
    one = supply("BAT0", type="Battery", capacity=100, charge_full=1_000, charge_now=1_000)
    assert battery(tmp_path, one, supply("BAT1", type="Battery", capacity=50)) == (75, None)


def test_the_battery_of_a_mouse_is_not_the_devices(tmp_path: Path) -> None:
    """A peripheral's battery says that its scope is a device; so may its charger."""
    mouse = supply("hidpp_battery_0", type="Battery", scope="Device", capacity=5, status="Discharging")
    assert battery(tmp_path, mouse) == (None, None)
    own = supply("BAT0", type="Battery", scope="System", capacity=80, status="Charging")
    assert battery(tmp_path, own) == (80, True)


def test_a_desktop_on_the_plug_has_no_battery(tmp_path: Path) -> None:
    """Mains alone tell nothing of a battery; an empty bay neither."""
    bay = supply("BAT1", type="Battery", present=0, capacity=0, status="Unknown")
    assert battery(tmp_path, supply("AC", type="Mains", online=1), bay) == (None, None)


def test_capacity_is_worked_out_where_it_is_not_told(tmp_path: Path) -> None:
    """Some drivers give charge alone."""
    told = supply("BAT0", type="Battery", status="Discharging", charge_full=4_000_000, charge_now=1_000_000)
    assert battery(tmp_path, told) == (25, False)


@pytest.mark.parametrize(
    ("capacity", "percent"), [("103", 100), ("255", None), ("-1", None), ("nan", None), ("", None), ("５", None)]
)
def test_capacities_that_cannot_be(tmp_path: Path, capacity: str, percent: float | None) -> None:
    """A worn battery reads a little over 100; what is no percentage is not taken."""
    assert battery(tmp_path, supply("BAT0", type="Battery", capacity=capacity, status="Full"))[0] == percent


@given(content=st.binary(max_size=60))
def test_no_file_content_is_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the kernel's files hold, a reading comes of it, and its numbers are possible ones."""
    root = tmp_path_factory.getbasetemp() / "any"
    names = (
        f"{SUPPLY}/B/capacity", f"{SUPPLY}/B/status", f"{SUPPLY}/B/energy_full", f"{SUPPLY}/B/energy_now", f"{SUPPLY}/AC/online",
        f"{ZONES}/thermal_zone0/temp", f"{ZONES}/thermal_zone0/trip_point_0_temp", "proc/meminfo", "proc/loadavg",
    )  # fmt: skip
    files(root, supply("B", type="Battery") | supply("AC", type="Mains") | zone(0, "cpu-thermal", 0, critical=0))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    reading = LinuxFiles(root, "x86_64").read()
    percent, load = reading.status.battery_percent, reading.status.load
    assert percent is None or 0 <= percent <= 100
    assert load is None or load >= 0
    assert all(1 <= sensor.celsius <= 130 and sensor.cool_celsius < sensor.limit_celsius for sensor in reading.sensors)


def test_what_is_forbidden_is_unknown(tmp_path: Path) -> None:
    """On Android folders and files are there and may not be read; here a folder stands where a file should, and a link leads
    nowhere, which fail for root as well."""
    files(tmp_path, supply("battery", type="Battery", status="Charging"))
    (tmp_path / SUPPLY / "battery/capacity").mkdir()
    (tmp_path / ZONES).mkdir(parents=True)
    (tmp_path / ZONES / "thermal_zone0").symlink_to(tmp_path / "nowhere")
    (tmp_path / "proc").write_text("no folder", encoding="utf-8")
    assert LinuxFiles(tmp_path).read() == Reading()


def test_folders_that_may_not_be_read(tmp_path: Path) -> None:
    """Without permission for the folders themselves nothing is known and nothing raised."""
    files(tmp_path, supply("BAT0", type="Battery", capacity=50) | zone(0, "cpu-thermal", 50_000))
    closed = [tmp_path / SUPPLY, tmp_path / ZONES]
    for folder in closed:
        folder.chmod(0)
    try:
        if any((folder / "x").parent.exists() and _listable(folder) for folder in closed):
            pytest.skip("This user may read everything.")
        assert LinuxFiles(tmp_path).read() == Reading()
    finally:
        for folder in closed:
            folder.chmod(0o700)


def _listable(folder: Path) -> bool:
    try:
        return bool(list(folder.iterdir()))
    except PermissionError:
        return False


def test_memory_and_load(tmp_path: Path) -> None:
    """Bytes available to programs, and the load for each core."""
    files(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB", "proc/loadavg": "1.50 0.09 0.21 1/95 397"})
    status = LinuxFiles(tmp_path).read().status
    assert status.available_memory_bytes == 2048 * 1024
    assert status.load == 1.5 / cores()


@pytest.mark.parametrize("machine", ["aarch64", "armv7l", "arm64"])
def test_a_pi_is_too_hot_at_80(tmp_path: Path, machine: str) -> None:
    """Its critical point of 110 °C and the points where its fan starts say nothing about that."""
    pi = zone(0, "cpu-thermal", 48_312, critical=110_000, active=50_000)
    assert sensors(tmp_path, machine, pi) == (Sensor("processor", 48.312, 80, 70),)
    assert LinuxFiles(tmp_path, machine).read().status.temperature_celsius == 48.312


@pytest.mark.parametrize(("passive", "limit"), [(70_000, 80), (85_000, 80), (95_000, 90), (0, 80)])
def test_a_board_may_name_the_heat_it_works_at(tmp_path: Path, passive: int, limit: float) -> None:
    """A governor that holds a board at 70 °C is no reason to stop; one that begins at 95 °C allows more than 80."""
    (sensor,) = sensors(tmp_path, "aarch64", zone(0, "soc-thermal", 60_000, passive=passive, critical=115_000))
    assert sensor.limit_celsius == limit


def test_a_laptop_may_run_at_95(tmp_path: Path) -> None:
    """By the driver's own critical point; the zones of the same machine, which tell less, are not asked."""
    driver = {f"{HWMON}/hwmon4/name": "coretemp", f"{HWMON}/hwmon4/temp1_input": "95000", f"{HWMON}/hwmon4/temp1_crit": "105000"}
    wifi = {f"{HWMON}/hwmon5/name": "iwlwifi_1", f"{HWMON}/hwmon5/temp1_input": "99000"}
    found = sensors(tmp_path, "x86_64", driver, wifi, zone(0, "x86_pkg_temp", 95_000))
    assert found == (Sensor("processor", 95, 102, 92),)


def test_amd_without_a_critical_point(tmp_path: Path) -> None:
    """95 °C is where newer ones hold themselves; Tctl with its offset does not count beside the true Tdie."""
    folder = f"{HWMON}/hwmon0"
    found = sensors(
        tmp_path,
        "x86_64",
        {f"{folder}/name": "k10temp", f"{folder}/temp1_input": "97000", f"{folder}/temp1_label": "Tctl"},
        {f"{folder}/temp2_input": "70000", f"{folder}/temp2_label": "Tdie"},
    )
    assert found == (Sensor("processor", 70, 97, 87),)


def test_only_the_zones_of_the_processor_count(tmp_path: Path) -> None:
    """A phone has a hundred zones: a battery's charge in the guise of a temperature, a modem, sensors that are off."""
    found = sensors(
        tmp_path,
        "aarch64",
        zone(0, "battery", 30_000) | zone(1, "soc", 85) | zone(2, "modem-tz", 90_000) | zone(3, "cpu-0-0-usr", 41),
        zone(4, "cpu-1-0-usr", -40_000) | zone(5, "gpuss-0", 255_000) | zone(6, "cpu-0-1-usr", 52_100) | zone(7, "cpu", "N/A"),
    )
    assert sorted(sensor.celsius for sensor in found) == [41, 52.1]
    assert LinuxFiles(tmp_path, "aarch64").read().status.temperature_celsius == 52.1


@pytest.mark.parametrize("critical", [0, 20_800, 210_000, -273_200])
def test_trip_points_that_cannot_be(tmp_path: Path, critical: int) -> None:
    """Firmware tables hold nonsense: then the usual limit holds."""
    (sensor,) = sensors(tmp_path, "x86_64", zone(0, "acpitz", 27_800, critical=critical))
    assert sensor.limit_celsius == 97


def test_what_termux_prints() -> None:
    """The reply of the Termux:API app, with its battery's heat as a sensor with limits of its own."""
    text = json.dumps({"health": "GOOD", "percentage": 63, "plugged": "UNPLUGGED", "status": "DISCHARGING", "temperature": 31.2})
    reading = parse_battery_status(text)
    assert reading == Reading(DeviceStatus(63, False, 31.2), (Sensor("battery", 31.2, 45, 41),))


@pytest.mark.parametrize(
    ("status", "plugged", "charging"),
    [
        ("CHARGING", "PLUGGED_AC", True),
        ("FULL", "PLUGGED_USB", True),
        ("NOT_CHARGING", "PLUGGED_USB", True),
        ("NOT_CHARGING", "UNPLUGGED", False),
        ("UNKNOWN", "PLUGGED_WIRELESS", True),
        ("UNKNOWN", None, None),
        ({}, [], None),
    ],
)
def test_whether_a_phone_charges(status: object, plugged: object, charging: bool | None) -> None:
    """What the battery does goes before what is plugged in."""
    reading = parse_battery_status(json.dumps({"percentage": 50, "status": status, "plugged": plugged}))
    assert reading is not None
    assert reading.status.charging is charging


@given(
    st.text(max_size=50)
    | st.dictionaries(
        st.sampled_from(["percentage", "temperature", "status", "plugged"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()),
    ).map(json.dumps)
)
def test_no_output_of_termux_is_an_error(text: str) -> None:
    """A reading with possible numbers, or none."""
    reading = parse_battery_status(text)
    if reading is not None and reading.status.battery_percent is not None:
        assert 0 <= reading.status.battery_percent <= 100


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o700)
    return str(path)


def test_termux_is_not_asked_at_every_reading(tmp_path: Path) -> None:
    """Its answer holds for half a minute: two readings, one start of the command."""
    log = tmp_path / "log"
    phone = TermuxBattery(script(tmp_path / "status", f"echo asked >> {log}; echo '{{\"percentage\": 63}}'"), deadline=60.0)
    assert phone.read().status.battery_percent == 63
    assert phone.read().status.battery_percent == 63
    assert log.read_text(encoding="utf-8") == "asked\n"


def test_a_termux_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """Without the app the command waits for ever, and its child holds the pipe open."""
    fifo = tmp_path / "fifo"
    child = "import os,sys; os.mkfifo(sys.argv[1]); open(sys.argv[1]).read()"
    phone = TermuxBattery(script(tmp_path / "status", f"'{sys.executable}' -c '{child}' '{fifo}'; echo late"), deadline=0.3)
    assert phone.read() == Reading()


@pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "echo '[1]'", "printf '\\377'"])
def test_a_termux_that_fails_is_unknown(tmp_path: Path, body: str) -> None:
    """Whatever it prints instead."""
    assert TermuxBattery(script(tmp_path / "status", body)).read() == Reading()


def test_without_termux_nothing_is_asked() -> None:
    """Elsewhere there is no such command."""
    assert TermuxBattery("no-such-command-anywhere").read() == Reading()


def psutil_like(**calls: Any) -> ModuleType:
    """A module with psutil's functions, as some platform has them."""
    module = ModuleType("psutil")
    for name, value in calls.items():
        setattr(module, name, value)
    return module


def test_psutil_tells_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Battery and memory on a Mac or on Windows."""
    told = psutil_like(
        virtual_memory=lambda: SimpleNamespace(available=5),
        sensors_battery=lambda: SimpleNamespace(percent=80, power_plugged=True),
    )
    monkeypatch.setitem(sys.modules, "psutil", told)
    status = portable_reading().status
    assert (status.battery_percent, status.charging, status.available_memory_bytes) == (80, True, 5)


@pytest.mark.parametrize("module", [None, psutil_like(), psutil_like(virtual_memory=lambda: 1 / 0)])
def test_without_a_usable_psutil_the_load_is_known(monkeypatch: pytest.MonkeyPatch, module: ModuleType | None) -> None:
    """It is no dependency, and any version of it will do."""
    monkeypatch.setitem(sys.modules, "psutil", module)
    status = portable_reading().status
    assert status.battery_percent is None
    assert status.load is not None


def test_the_first_that_tells_is_believed() -> None:
    """Field by field, but percent and charging of one source; all sensors."""
    one = Reading(DeviceStatus(battery_percent=50, load=1.0), (Sensor("processor", 40, 80, 70),))
    two = Reading(DeviceStatus(60, True, 30.0, 7, 2.0), (Sensor("battery", 30, 45, 41),))
    assert merged([one, two]) == Reading(DeviceStatus(50, None, 30.0, 7, 1.0), one.sensors + two.sensors)


def test_what_is_told_is_rounded() -> None:
    """Not every byte that is freed goes through the house."""
    status = DeviceStatus(14.9, True, 48.312, 200 * 1024**2, 0.4321)
    assert rounded(status) == DeviceStatus(14, True, 48, 192 * 1024**2, 0.4)
    assert rounded(DeviceStatus()) == DeviceStatus()


def test_this_device_can_be_read() -> None:
    """Whatever runs the tests has memory, cores and a load, and reading it raises nothing."""
    assert memory_bytes() > 0
    assert merged(source() for source in usual_sources()).status.load is not None


async def test_the_watch_tells_changes_and_reasons() -> None:
    """Two readings alike are told once; a battery that is low is told with its reason; it is the loop's thread that hears it."""
    readings = iter([Reading(DeviceStatus(50.4, False)), Reading(DeviceStatus(50.2, False)), Reading(DeviceStatus(14, False))])
    told: list[object] = []
    heard_in: set[int] = set()
    read_in: set[int] = set()

    def hear(value: object) -> None:
        told.append(value)
        heard_in.add(threading.get_ident())
        if len(told) == 3:
            done.set()

    done = asyncio.Event()
    last = Reading(DeviceStatus(14, False))

    def source() -> Reading:
        read_in.add(threading.get_ident())
        return next(readings, last)

    async with DeviceWatch(hear, hear, sources=[source], seconds=0.001) as watch:
        await done.wait()
    reason = "on battery at 14 %: takes no work until it charges or reaches 30 %"
    assert told == [DeviceStatus(50, False), DeviceStatus(14, False), reason]
    assert (watch.status, watch.draining) == (DeviceStatus(14, False), reason)
    assert heard_in == {threading.get_ident()}
    assert threading.get_ident() not in read_in


async def test_the_watch_waits_for_no_reading() -> None:
    """A battery that never answers stops neither the loop nor the end of the node."""
    asked, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def source() -> Reading:
        loop.call_soon_threadsafe(asked.set)
        release.wait()
        return Reading()

    async with DeviceWatch(lambda _: None, lambda _: None, sources=[source]):
        await asked.wait()
    assert not release.is_set()
    release.set()


async def test_a_source_that_breaks_does_not_break_the_node(caplog: pytest.LogCaptureFixture) -> None:
    """A defect of ours in a reader is logged once, the rest goes on."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def source() -> Reading:
        loop.call_soon_threadsafe(asked.set)
        raise ZeroDivisionError

    async with DeviceWatch(lambda _: None, lambda _: None, sources=[source], seconds=0.0) as watch:
        await asked.wait()
        assert watch._task is not None
        await watch._task
    assert len(ours(caplog)) == 1
