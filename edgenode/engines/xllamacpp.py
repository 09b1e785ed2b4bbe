"""The child process that runs xllamacpp, which is llama.cpp's own server in one wheel: `python -m edgenode.engines.xllamacpp`."""

from urllib.parse import urlsplit

from edgenode.engines.child_main import Orders, serve

# Kept for as long as the process lives: the server stops when its object goes away.
_servers: list[object] = []


def start(orders: Orders) -> int:
    """Loads the model, serves on a free port of 127.0.0.1 and returns that port. Raises `RuntimeError` when it cannot."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = orders.model
    params.model_alias = {orders.alias}
    params.api_keys = [orders.key]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    # The library divides the context among the slots.
    params.n_ctx = orders.context_tokens * orders.slots
    # A dropped caller is noticed once for each `n_batch`, whatever `n_ubatch` is.
    params.n_batch = orders.batch_tokens
    params.n_ubatch = orders.batch_tokens
    params.n_parallel = orders.slots
    params.kv_unified = False
    params.cont_batching = True
    params.ctx_shift = False
    params.cpuparams.n_threads = orders.threads
    params.cpuparams_batch.n_threads = orders.threads
    # Each request has a thread to itself until it is answered.
    params.n_threads_http = orders.slots + 3
    # Finished prompts would be kept in up to 8 GB of memory; each slot itself remembers the last one, which is what a lease needs.
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 2
    server = xllamacpp.Server(params)
    _servers.append(server)
    port: int = urlsplit(server.listening_address).port
    return port


if __name__ == "__main__":
    serve(start)
