"""What a node's progress and outcomes teach about its speed.

Progress is measured piece by piece, outcomes as a whole and with twice the weight. A node whose progress had claimed to be further
than its outcome then confirms loses credit: its progress counts for less, in what is learnt and in what is foreseen.
"""

import math
from typing import Final

from coordinator.scheduling.holdings import Lease
from coordinator.scheduling.speed import PredictionError, reading
from edgenode.types import SubtaskId, Usage

# Pieces shorter than this are measured together with the next: time stamps are no better.
PIECE_SECONDS: Final = 0.03
PROGRESS_TRUST: Final = 0.5
GAP_WEIGHT: Final = 0.3
# A gap is a round trip and the start of a lease. What takes longer is something else, such as another coordinator's turn.
MAX_GAP_SECONDS: Final = 2.0
# Who has short leases may have many turns in a row before the next long one of others.
WAIT_KEPT: Final = 0.9


def take_progress(lease: Lease, subtask: SubtaskId, prompt: int, read: int, written: int, now: float) -> bool:
    """The node says that it has read `read` of `prompt` tokens and written so many; with its first word of a subtask, whatever it
    tells, that it has begun it. Whether that is further than before."""
    if subtask not in lease.awaited or not lease.running or lease.stuck:
        return False
    node = lease.node
    share = min(1.0, max(0, read) / prompt) if prompt > 0 else 0.0
    at, out = share * lease.prompt, float(max(0, written))
    first = not lease.begun
    if first:
        waited = now - lease.started
        if waited > MAX_GAP_SECONDS:
            lease.cached = 0.0  # what others read meanwhile took its place
        elif lease.granted == lease.started:
            node.gap += GAP_WEIGHT * (waited - node.gap)
        node.wait = max(waited if waited > MAX_GAP_SECONDS else 0.0, WAIT_KEPT * node.wait)
        lease.start(now, begun=True)
    elif lease.loading is not None:
        _measure_loading(lease, at, out, now)
    if prompt > 0 and not out and at < lease.cached == lease.read:
        # Less was in the cache than was expected: it reads that as well.
        lease.cached = lease.read = at
        lease.mark = (node.clock(now), at, 0.0)
        lease.at = now
        lease.expect()
        return True
    if at <= lease.read and out <= lease.written:
        return first
    if at > lease.read:
        step = at - lease.read
        node.stride = step if node.stride is None else max(step, node.stride + 0.2 * (step - node.stride))
    if out > lease.written:
        node.write_stride += 0.2 * (out - lease.written - node.write_stride)
    lease.at = now
    lease.read, lease.written = max(at, lease.read), max(out, lease.written)
    if first:  # of a node that did not say so when it began: what it did until now is not measured
        lease.mark = (lease.began, lease.read, lease.written)
    _measure_piece(lease, now)
    lease.look(now)
    if lease.halfway is None and lease.wanted and lease.predicted > 0:
        ahead = lease.speed.seconds(reading(lease.read, lease.prompt, written=max(0.0, lease.reply - lease.written)))
        whole = lease.speed.seconds(reading(lease.cached, lease.prompt, calls=1.0, written=lease.reply))
        done = 1 - min(1.0, ahead / whole) if whole > 0 else 0.0
        if done >= 0.5:
            lease.halfway = (now - lease.started, done)
    return True


def _measure_loading(lease: Lease, at: float, out: float, now: float) -> None:
    """What passed from the start until a model's first sign, beyond what it read by then, is the loading of it: the subtask is
    taken to have begun after it. Of a node's first lease that is only known when the sign came before anything was read."""
    if lease.loading or (at <= lease.cached + 1 and not out):
        seconds = max(0.0, now - lease.started - lease.speed.seconds(reading(lease.cached, at, calls=1.0, written=out)))
        if lease.loading:
            lease.reader.load = seconds
        lease.started += seconds
        lease.began += seconds / lease.node.slowdown()
        lease.mark = (lease.node.clock(now), at, out)
    lease.loading = None
    lease.at = now
    lease.expect()


def _measure_piece(lease: Lease, now: float) -> None:
    since, read, written = lease.mark
    clock, model = lease.node.clock(now), lease.speed
    if clock - since < PIECE_SECONDS:
        return
    if not lease.node.width.on_trial:
        piece = reading(read, lease.read, written=lease.written - written)
        model.observe(piece, clock - since, trust=PROGRESS_TRUST * model.credit)
    lease.mark = (clock, lease.read, lease.written)


def take_outcome(lease: Lease, usage: Usage | None, now: float, error: PredictionError) -> None:
    """The subtask in work was completed."""
    node, model = lease.node, lease.speed
    lease.begun = True
    seconds, alone = now - lease.started, node.clock(now) - lease.began
    if seconds <= 0 or alone <= 0:
        return
    slow = seconds / alone
    cached, written = lease.cached, lease.reply
    if usage is not None and usage.prompt_tokens > 0:
        lease.reader.caches |= usage.cached_tokens > 0
        cached = min(1.0, max(0, usage.cached_tokens) / usage.prompt_tokens) * lease.prompt
        written = float(max(0, usage.completion_tokens))
        if lease.work.reply_tokens > 0:
            run = lease.run
            run.replies += 0.05 * (min(10.0, written / lease.work.reply_tokens) - run.replies)
    # Outcomes that were held up and came all at once seem to have taken no time: the engine knows better. What it says can only
    # make its node slower, and no slower than the time that it had the lease.
    told = min(usage.seconds, now - lease.granted) if usage is not None else 0.0
    error.add(lease.predicted, max(seconds, told))
    # Of an engine that tells no progress the first outcome does not tell what of it was loading: the next one is better.
    teaches = not node.width.on_trial and not (lease.loads_for and len(lease.awaited) > 1)
    if lease.loading is not None:
        seconds -= min(0.8 * seconds, lease.loading)
        lease.loading = None
    if lease.halfway is not None:
        after, share = lease.halfway
        model.confirm(math.log(max(1e-3, share * seconds / max(after, 1e-3))) - 0.2)
    demand = reading(cached, lease.prompt, calls=1.0, written=written)
    seconds = max(seconds, told)
    if node.crowded_at <= lease.started:
        node.width.observe(node.crowd, seconds / max(1e-6, model.seconds(demand)))
    if teaches:
        model.observe(demand, seconds / slow)
