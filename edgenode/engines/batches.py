"""How many prompt tokens an engine reads at a time on this device. It notices only between two batches that its caller has gone."""

import asyncio
import logging
from typing import Final

from edgenode.engines.engine import Request
from edgenode.engines.http import HttpClient
from edgenode.errors import EngineError

logger = logging.getLogger(__name__)

SMALLEST_BATCH: Final = 16
BATCH_SECONDS: Final = 1.25
"""How long a batch may take, so that cancelled work stops within about a second: on average half of a batch is still to be read."""
WARM_UP_SECONDS: Final = 10.0
"""A device that has not read the warm-up by then reads about 4 tokens a second at most: the smallest is the one for it."""

# Some 40 tokens with what a chat template adds: they tell the speed as well as 500 do, and cost a slow device seconds.
_TEXT: Final = "The lease of the house on the hill begins on the first day of March and ends when the tenant moves out of it."


def fitting_batch(largest: int, tokens: int, seconds: float) -> int:
    """The largest of `largest`, a half of it, a quarter and so on that takes at most `BATCH_SECONDS` on a device that read `tokens`
    in `seconds`; not below `SMALLEST_BATCH`, where smaller ones only cost speed. Pure."""
    batch = largest
    while batch // 2 >= SMALLEST_BATCH and batch * seconds > BATCH_SECONDS * tokens:
        batch //= 2
    return batch


async def measured_batch(client: HttpClient, model: str, largest: int, seconds: float = WARM_UP_SECONDS) -> int:
    """`fitting_batch` for the engine behind `client`, which reads a few words for it. One that fails, or does not manage this
    within `seconds`, gets the smallest, and a warning is logged. Raises nothing."""
    request = Request(model, "You read.", _TEXT, '{"type": "boolean"}', max_reply_tokens=1)
    try:
        async with asyncio.timeout(seconds):
            usage = (await client.complete(request, lambda _: None)).usage
    except (TimeoutError, EngineError) as error:
        smallest = fitting_batch(largest, 0, seconds)
        why = str(error) or f"It took more than {seconds:g} seconds."
        logger.warning("The engine did not read its warm-up, and gets batches of %d tokens. %s", smallest, why)
        return smallest
    batch = fitting_batch(largest, usage.prompt_tokens - usage.cached_tokens, usage.seconds)
    logger.info("The engine read %d tokens in %.2f s: it reads in batches of %d.", usage.prompt_tokens, usage.seconds, batch)
    return batch
