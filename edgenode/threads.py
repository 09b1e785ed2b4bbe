"""Slow, blocking calls beside the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """What `call` returns or raises, from a thread that does not keep the program alive.

    `asyncio.to_thread` does: after Ctrl-C the program would first finish reading a long PDF or hashing a model.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def work() -> None:
        try:
            result = call(*arguments, **options)
        except BaseException as error:  # whatever it is, it belongs to whoever waits
            tell(done.set_exception, error)
        else:
            tell(done.set_result, result)

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        def on_loop() -> None:
            if not done.done():
                settle(value)

        with contextlib.suppress(RuntimeError):  # the loop is closed, at whatever moment: nobody waits any more
            loop.call_soon_threadsafe(on_loop)

    threading.Thread(target=work, name=getattr(call, "__name__", "work"), daemon=True).start()
    return await done
