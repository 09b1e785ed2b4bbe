"""Which of its models a node reads a run with: the first that fits in the node's own order, or one that is known to be faster."""

from typing import Final

from coordinator.scheduling.backlog import Run
from coordinator.scheduling.holdings import Node
from coordinator.scheduling.readers import Reader, Readers
from coordinator.scheduling.speed import Demand

# Another model is used when it is faster by a tenth: less is within the noise, and loading it costs as well.
FASTER: Final = 1.1
# Reading costs in proportion to the weights, within this factor whatever the quantization: what is larger still is not tried.
LARGER: Final = 2.0


def choose(readers: Readers, node: Node, run: Run, typical: Demand, left: float) -> Reader:
    """The model to give the node its next bundle for. `left` are the seconds until all that waits like `typical` will be done.

    A model that is smaller than the smallest first choice in the pool is never used, so that no quality is given up that the run
    has not given up already. One of which nothing is known is tried once, when finding it faster by a tenth would repay the trial.
    """
    reads = run.readers[node.id]
    fitting = readers.fitting(node.id, run.need)
    if len(fitting) == 1 or not fitting[0].speed.known:
        return reads
    least = readers.smallest(run.need)
    best, seconds = reads, reads.speed.seconds(typical)
    for reader in fitting:
        if reader is reads or (reader is not fitting[0] and not 0 < least <= reader.model.parameters):
            continue
        if reader.speed.known:
            if reader.speed.seconds(typical) * FASTER < seconds:
                best, seconds = reader, reader.speed.seconds(typical)
        elif not reader.tried and reader.model.parameters <= LARGER * max(least, reads.model.parameters):
            cost = reader.load + reads.load + seconds
            if left * (1 - 1 / FASTER) > cost:
                return reader
    if left * (1 - seconds / reads.speed.seconds(typical)) > node.loading(best):
        run.readers[node.id] = best
    return run.readers[node.id]
