"""A model on a node: what is known of it."""

from dataclasses import dataclass, field

from coordinator.scheduling.decisions import Candidate
from coordinator.scheduling.limits import LOAD_SECONDS
from coordinator.scheduling.speed import SpeedModel


@dataclass(slots=True, eq=False)
class Reader:
    """It outlives the stay of its node: one that comes back is known."""

    model: Candidate
    speed: SpeedModel = field(default_factory=SpeedModel)
    load: float = LOAD_SECONDS
    """Seconds until it can read after another model has."""
    tried: bool = False
    """Whether it was given work, as a node's first choice or to see whether it is faster."""
