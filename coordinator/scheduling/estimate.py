"""How long a pool will take to read: told before a run begins, and while it goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator.scheduling.decisions import Work
from coordinator.scheduling.holdings import Node
from coordinator.scheduling.readers import Reader
from coordinator.scheduling.speed import Demand, bundle_demand


@dataclass(frozen=True, slots=True)
class Estimate:
    """`devices` can read now. `seconds` is None while nothing is known of how fast any of them is."""

    devices: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that can read, with the model that it reads with, and in how many seconds it is free."""

    node: Node
    reader: Reader
    free_in: float = 0.0


def demand_of(work: Iterable[Work]) -> tuple[int, Demand]:
    """How many bundles there are, and what it takes to read all of them."""
    count, total = 0, Demand()
    for each in work:
        count += 1
        total += bundle_demand(each.shared_tokens, each.own_tokens, each.reply_tokens, len(each.subtasks))
    return count, total


def estimate(devices: Sequence[Device], bundles: float, demand: Demand, *, runs: int = 1) -> Estimate:
    """How long these devices take for `bundles` bundles that make `demand` in all, beside `runs - 1` other runs that get as much of
    their time. Devices of which nothing is known are taken to be like the others."""
    if not any(device.reader.speed.known for device in devices):
        return Estimate(len(devices), None)
    if not bundles:
        return Estimate(len(devices), 0.0)
    alone = [max(1e-6, device.reader.speed.seconds(demand)) for device in devices]
    shares = [device.node.width.gain / seconds / runs for device, seconds in zip(devices, alone, strict=True)]
    # Each begins when it is free; those that would be free only after the others are done do not help.
    done, rate = 0.0, 0.0
    finish = float("inf")
    for share, device in sorted(zip(shares, devices, strict=True), key=lambda pair: pair[1].free_in):
        if device.free_in >= finish:
            break
        rate += share
        done += share * device.free_in
        finish = (1.0 + done) / rate
    # One bundle is read by one device, however many there are.
    one = min(device.free_in + seconds / bundles for device, seconds in zip(devices, alone, strict=True))
    return Estimate(len(devices), max(finish, one))
