"""The child process that runs llama-cpp-python's server: `python -m edgenode.engines.llama_cpp`."""

import os
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from edgenode.engines.child_main import Orders, serve

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class HungUpError(Exception):
    """The caller is gone: what is read for it need not be read to the end."""


class HangUps:
    """Ends the reading of a prompt when its caller hangs up.

    By itself the library looks for that only between two tokens it writes, and reads a long prompt to the end, for minutes on a
    slow device. Requests are expected one at a time, as a node's queue sends them.
    """

    def __init__(self) -> None:
        self._gone = threading.Event()

    def around(self, app: App) -> App:
        """`app`, an ASGI application, with an eye on who leaves before the end."""

        async def watched(scope: Message, receive: Receive, send: Send) -> None:
            ended = False

            async def receiving() -> Message:
                message = await receive()
                if message["type"] == "http.disconnect" and not ended:
                    self._gone.set()
                return message

            async def sending(message: Message) -> None:
                nonlocal ended
                ended = message["type"] == "http.response.body" and not message.get("more_body", False)
                await send(message)

            try:
                await app(scope, receiving, sending)
            finally:
                # The thread that worked for this caller has ended by now.
                self._gone.clear()

        return watched

    def between_batches(
        self, read: Callable[[Any, Sequence[int]], None], batch_tokens: int
    ) -> Callable[[Any, Sequence[int]], None]:
        """`read`, which is `Llama.eval`, a batch at a time; raises `HungUpError` between two."""

        def reading(llama: Any, tokens: Sequence[int]) -> None:
            for at in range(0, len(tokens), batch_tokens):
                if self._gone.is_set():
                    raise HungUpError
                read(llama, tokens[at : at + batch_tokens])

        return reading


def start(orders: Orders) -> int:
    """Loads the model, serves on a free port of 127.0.0.1 and returns that port. Raises `ValueError` when it cannot."""
    # That server reads its settings from the environment too; only the orders count.
    os.environ.pop("CONFIG_FILE", None)
    import llama_cpp
    import uvicorn
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    hang_ups = HangUps()
    llama_cpp.Llama.eval = hang_ups.between_batches(llama_cpp.Llama.eval, orders.batch_tokens)
    app = create_app(
        # Told to interrupt, it would drop the request in work as soon as another arrives.
        server_settings=ServerSettings(host="127.0.0.1", port=0, api_key=orders.key, interrupt_requests=False),
        model_settings=[
            ModelSettings(
                model=orders.model,
                model_alias=orders.alias,
                n_ctx=orders.context_tokens,
                n_batch=orders.batch_tokens,
                n_threads=orders.threads,
                n_threads_batch=orders.threads,
                n_gpu_layers=-1,
                verbose=False,
            )
        ],
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hang_ups.around(app), lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    def run() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            # Without its server the process is of no use: its end is how the node learns of it.
            os._exit(1)

    threading.Thread(target=run, name="http", daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


if __name__ == "__main__":
    serve(start)
