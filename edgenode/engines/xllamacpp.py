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
    params.n_ctx = orders.context_tokens
    # A dropped caller is noticed once a batch: 128 tokens is under a second of reading, and costs 7 % of the speed of 512.
    params.n_batch = orders.batch_tokens
    params.n_ubatch = orders.batch_tokens
    # On a processor more slots gain a tenth, and lose the prompt cache between leases.
    params.n_parallel = 1
    params.ctx_shift = False
    params.cpuparams.n_threads = orders.threads
    params.cpuparams_batch.n_threads = orders.threads
    params.n_threads_http = 4
    # Finished prompts would be kept in up to 8 GB of memory; the slot itself remembers the last one, which is what a lease needs.
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
