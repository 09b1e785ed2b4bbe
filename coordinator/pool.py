"""The SDK: `Pool`. Nothing is printed and nothing is configured globally; errors are `edgenode.errors.EdgenodeError`s."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from coordinator import events
from coordinator.config import Config, load_config, runs_dir
from coordinator.events import Ended, Event, NodeInfo
from coordinator.nodes.pair_node import Ask, pair_node
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.remedies import option
from coordinator.runs.database import forget
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestRecord
from coordinator.story import Summary, list_stories
from coordinator.trust.paired import PairedNode
from coordinator.types import Answer, Reading
from edgenode.errors import UsageError
from edgenode.net.addresses import NODE_PORT, parse_host_port
from edgenode.net.forked import use_grpc
from edgenode.net.interfaces import Scope, scope
from edgenode.threads import in_thread

if TYPE_CHECKING:
    from coordinator.runs.dispatch import Dispatcher
    from coordinator.runs.read import Confirm


class Pool:
    """The nodes around, and questions to them.

        async with Pool.discover() as pool:
            answer = await pool.ask("What must we do before we move out?", documents=["lease.pdf"])

    Several questions may be asked at once; they share the nodes.
    """

    def __init__(
        self, scope: Scope, trust: Trust, only: Collection[str], join: Sequence[str], listen_port: int | None, config: Config
    ) -> None:
        self._made_of = (scope, trust, only, join, listen_port, config)
        self._nodes = tuple(only)
        self._roster = Roster(scope, trust, only, join, listen_port)
        self._config = config
        self._stack = AsyncExitStack()
        self._is_open = False

    @classmethod
    def discover(
        cls,
        *,
        interface: str | None = None,
        nodes: Collection[str] = (),
        join: Sequence[str] = (),
        listen_port: int | None = None,
        config: Config | None = None,
        supervisor_model: str | None = None,
        cloud: bool | None = None,
    ) -> Self:
        """A pool of the nodes that are found while it is entered: by mDNS, on this machine, and where paired nodes were last met.

        `interface` restricts browsing (default: `EDGENODE_INTERFACE`, else all usable ones), `nodes` the nodes used, by name or
        id; `join` are addresses of nodes, HOST or HOST:PORT, for networks without mDNS. Nodes that can only dial out are listened
        for at `listen_port` and the next, or at 7435 while one of them is paired, or one is invited. `config` replaces what the
        config file and the environment say of the supervisor. `cloud` False means that no supervisor is used, True that the one of
        the environment may be; else that one is used only if the user has agreed to it before. Only nodes that are paired are asked
        anything; those of the same user on this machine pair by themselves.
        Raises `NetworkError` for an unusable interface, `UsageError` for an unusable config file or address, `TrustError` or
        `HomeError` when this coordinator's identity cannot be used.
        """
        config = config or load_config(supervisor_model=supervisor_model, cloud=cloud)
        addresses = [parse_host_port(address, NODE_PORT, option("join")) for address in join]
        return cls(scope(interface), Trust.load(), nodes, addresses, listen_port, config)

    async def __aenter__(self) -> Self:
        use_grpc()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._roster)
            # What runs are made of takes half a second to load, in which nodes are found already.
            dispatcher = await in_thread(_load_dispatcher)
            self._dispatcher = await stack.enter_async_context(dispatcher(self._roster))
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_open = False
        await self._stack.aclose()

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """The nodes found, by name, once discovery has come to rest (about a second, four at most when there is none)."""
        self._check_open()
        await self._roster.settle()
        return self._roster.nodes()

    @property
    def unreachable(self) -> Mapping[str, str]:
        """Addresses to join (HOST:PORT) at which no node has answered yet, and why: a sentence, empty while that is not known."""
        return self._roster.unreachable

    def watch(self) -> AsyncIterator[tuple[NodeInfo, ...]]:
        """The nodes, by name, now and again after every change, without end."""
        self._check_open()
        return self._roster.watch()

    async def pair(self, node: str, ask: Ask) -> PairedNode:
        """Pairs with the node of that name, id (or its beginning) or address, whose code `ask` gets from a person; it is not
        asked for a node of the same user on this machine, nor for one that has joined already.

        Raises `UsageError` when several are called so or the code is none, `NetworkError` when it is not there, `PairingError`
        when it will not.
        """
        self._check_open()
        return await pair_node(self._roster, node, ask)

    async def ask(
        self,
        question: str,
        documents: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        read: Reading | str = Reading.AUTO,
        show_names: bool = False,
        max_egress: int | None = None,
        dry_run: bool = False,
        background: bool = False,
    ) -> Answer:
        """Asks `question` of documents (files or folders, one or several) and returns the answer with its citations and ledger.

        `read` is "auto", "relevant" or "all"; `max_egress` bounds, in characters, what the request to the supervisor may carry
        besides its fixed prompt; `show_names` lets it see the documents' names; with `dry_run` the request is made and kept but
        not sent. Questions asked at once share the nodes evenly, except that those in the `background` let the others go first.
        Raises `UsageError`, `DocumentError`, `NoNodes`, `SupervisorError`, `EgressRefused` or `RunError`. A question that the
        documents do not answer is no error: `status` is "not_found".
        """
        stream = self.stream(
            question,
            documents,
            read=read,
            show_names=show_names,
            max_egress=max_egress,
            dry_run=dry_run,
            background=background,
        )
        return await _last(stream)

    def ask_sync(
        self,
        question: str,
        documents: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        read: Reading | str = Reading.AUTO,
        show_names: bool = False,
        max_egress: int | None = None,
        dry_run: bool = False,
    ) -> Answer:
        """As `ask`, for programs without an event loop: finds the nodes, asks, and returns once it has left them. The pool need not
        be entered: `Pool.discover().ask_sync(question, documents)`. Raises as `ask` does, and `UsageError` inside an event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError("ask_sync waits, which would stop the event loop that runs here. Use: await pool.ask(...)")

        async def ask() -> Answer:
            # A pool of its own each time, since one cannot be entered twice.
            async with type(self)(*self._made_of) as pool:
                return await pool.ask(question, documents, read=read, show_names=show_names, max_egress=max_egress, dry_run=dry_run)

        return asyncio.run(ask())

    def runs(self) -> tuple[Summary, ...]:
        """The runs that are kept, oldest first, and what each sent. As `ledger` and `forget` it needs no node: the pool need not be
        entered. Blocks for some milliseconds a run. Raises `RunError`."""
        return list_stories(runs_dir())

    def ledger(self, run: str) -> tuple[RequestRecord, ...]:
        """The requests of a run to the supervisor and their replies, to the byte, oldest first. `run` is its id, the beginning of
        it, or "last". Raises `RunError`."""
        with Journal.look(runs_dir(), run) as journal:
            return journal.ledger.records()

    def forget(self, run: str) -> None:
        """Deletes all that a run kept. `run` is its whole id. Raises `RunError`, and `RunBusy` for one that is at work."""
        forget(runs_dir(), run)

    def stream(
        self,
        question: str,
        documents: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        read: Reading | str = Reading.AUTO,
        show_names: bool = False,
        max_egress: int | None = None,
        dry_run: bool = False,
        background: bool = False,
        confirm: "Confirm | None" = None,
    ) -> AsyncIterator[Event]:
        """As `ask`, as the events of the run; the last is `Ended` with the answer, or an error is raised. Leaving the loop early
        and closing the iterator stops the run on every node.

        `Estimated` tells how long the reading will take, before it begins and while it goes on. `confirm`, if given, is awaited
        with the first of them; when it returns False nothing is read and the status is "stopped"."""
        self._check_open()
        from coordinator.runs import run as running

        options = running.Options(
            _reading(read), show_names, max_egress, dry_run, background=background, nodes=self._nodes, confirm=confirm
        )
        # One path alone is what people give first; as a sequence it would be taken apart into its characters.
        paths = [Path(each) for each in ([documents] if isinstance(documents, str | os.PathLike) else documents)]
        if not paths:
            raise UsageError("There is no document to ask the question of.")
        return _events(
            lambda emit: running.ask(self._dispatcher, self._config, runs_dir(), question, paths, options, emit),
        )

    def resume(
        self,
        run: str,
        *,
        show_names: bool = False,
        max_egress: int | None = None,
        dry_run: bool = False,
        again: bool = False,
        background: bool = False,
    ) -> AsyncIterator[Event]:
        """Goes on with an earlier run where it was, as the events of it: nothing that was done is done again, and no usable
        reply is paid for again; where none was usable, the supervisor is asked anew. `run` is its id, the beginning of it, or
        "last". `background` as for `ask`. It is read by the nodes of this pool, whichever it was asked of.

        What failed is read again where nodes and documents allow it. An answer that there is stands if it was paid for, or if
        nothing was read since; else the pool makes it anew. With `again` whoever is configured makes another, and a supervisor is
        paid for it (`Answer.incomplete` tells what an answer does not rest on). Raises as `ask` does, and `SupervisorUnsure` where
        an earlier request may have been paid for and `again` is not given.
        """
        self._check_open()
        from coordinator.runs import run as running

        options = running.Options(show_names=show_names, max_egress=max_egress, dry_run=dry_run, again=again, background=background)
        return _events(lambda emit: running.resume(self._dispatcher, self._config, runs_dir(), run, options, emit))

    def _check_open(self) -> None:
        if not self._is_open:
            raise UsageError("The pool is not open. Use it inside: async with Pool.discover() as pool")
        use_grpc()


def _load_dispatcher() -> "type[Dispatcher]":
    from coordinator.runs import run  # noqa: F401 - what the first question needs
    from coordinator.runs.dispatch import Dispatcher

    return Dispatcher


def _reading(read: Reading | str) -> Reading:
    try:
        return Reading(read)
    except ValueError:
        raise UsageError(f"read is {str(read)[:80]!r}, which is none of: {', '.join(Reading)}.") from None


class _Pending:
    """Events that nobody has taken yet. Of how far a node got with a text only the last is kept, since nodes say that as often as
    they like and whoever takes it may be slow; of all others there are only as many as there is work."""

    def __init__(self) -> None:
        self._events: OrderedDict[object, Event | None] = OrderedDict()
        self._some = asyncio.Event()

    def put(self, event: Event | None) -> None:
        key: object = (event.node, event.document, event.page) if isinstance(event, events.Reading) else object()
        self._events[key] = event
        self._events.move_to_end(key)
        self._some.set()

    async def get(self) -> Event | None:
        while not self._events:
            self._some.clear()
            await self._some.wait()
        return self._events.popitem(last=False)[1]


async def _events(start: Callable[[Callable[[Event], None]], Awaitable[Answer]]) -> AsyncIterator[Event]:
    """What `start` emits while it runs, then its error if it has one."""
    pending = _Pending()

    async def work() -> None:
        try:
            await start(pending.put)
        finally:
            pending.put(None)

    task = asyncio.create_task(work(), name="run")
    try:
        while (event := await pending.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _last(stream: AsyncIterator[Event]) -> Answer:
    answer: Answer | None = None
    async for event in stream:
        if isinstance(event, Ended):
            answer = event.answer
    assert answer is not None, "a run ends with its answer or an error"
    return answer
