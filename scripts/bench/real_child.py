"""A node with the default engine, in a process of its own: `python real_child.py HOME NAME MODEL THREADS`.

It is the node of `edgenode start --engine xllamacpp`, but says in its one line of JSON also where its engine serves and with which
key, so that the very same engine can be asked without the node. It ends with its standard input, so it cannot outlive whoever
started it.
"""

import asyncio
import json
import sys
from pathlib import Path

from edgenode.engines.child import ChildEngine
from edgenode.engines.choose import XLLAMACPP, EngineSettings, choose_engine
from edgenode.errors import EdgenodeError
from edgenode.models.store import Store
from edgenode.node import Node, NodeConfig


async def serve(home: Path, name: str, model: str, threads: int) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    found = Store().find(model)
    log = home / "engine.log"
    engine = choose_engine(EngineSettings(log=log, engine=XLLAMACPP, path=found.path, known=found.model, threads=threads))
    assert isinstance(engine, ChildEngine), "this one runs in a child process"
    # The battery of a laptop is no reason to refuse a measurement.
    async with Node(NodeConfig(home=home, name=name, min_battery=0), engine) as node:
        assert engine._serving is not None, "ready"  # noqa: SLF001 - nobody but a benchmark goes past the node
        server, _, _ = engine._serving  # noqa: SLF001
        (served,) = engine.models
        told = {"id": node.trust.id, "model": served.name, "context": served.context_tokens, "url": server.url, "key": server.key}
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
        await lines.read()


if __name__ == "__main__":
    try:
        asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
    except EdgenodeError as error:
        sys.exit(str(error))
