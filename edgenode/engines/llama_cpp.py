"""The child process that runs llama-cpp-python's server: `python -m edgenode.engines.llama_cpp`."""

import os
import socket
import threading

from edgenode.engines.child_main import Orders, serve


def start(orders: Orders) -> int:
    """Loads the model, serves on a free port of 127.0.0.1 and returns that port. Raises `ValueError` when it cannot."""
    # That server reads its settings from the environment too; only the orders count.
    os.environ.pop("CONFIG_FILE", None)
    import uvicorn
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

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
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))

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
