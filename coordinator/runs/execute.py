"""The reading of one plan by the nodes of a pool: plan to work, completions to findings."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from coordinator.documents.chunks import estimate_tokens
from coordinator.events import Event, Found, Leased, NodeJoined, Reading
from coordinator.minions import prompts
from coordinator.minions.findings import MalformedReply, check_reply
from coordinator.minions.plan import Plan
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.participants import fitting
from coordinator.scheduling.decisions import GiveUp, Grant, Need, Work
from coordinator.types import Chunk, Document, Failed, Finding, NodeWork, Rejected, Task
from edgenode.types import Completion, Failure, FailureReason, Lease, NodeId, Progress, Subtask, SubtaskId


class Execution:
    """One plan being read. It is the run's participant in the pool.

    `emit` gets the events; `record` gets each finding before its event, so that nothing is told that is not kept, and `close` the
    task and chunk of a subtask that ends with the rejected quotations it has. Of the plan's subtasks those in `done`, as (task,
    chunk), are left out; `work` is what the nodes did before. `id` is another for each sitting of each run, of at most 40 letters,
    digits, hyphens, dots and underscores.
    """

    def __init__(
        self,
        id: str,
        plan: Plan,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        need: Need,
        emit: Callable[[Event], None],
        record: Callable[[Finding], None],
        close: Callable[[int, int], None],
        done: Collection[tuple[int, int]] = (),
        work: Mapping[NodeId, NodeWork] | None = None,
    ) -> None:
        self.id = id
        self._plan = plan
        self._chunks = chunks
        self._documents = documents
        self.need = need
        self._emit = emit
        self._record = record
        self._close = close
        self._done = frozenset(done)
        self._subtasks: dict[SubtaskId, tuple[Task, Chunk]] = {}
        self._rejected: set[SubtaskId] = set()
        self.bundles = self._bundles()
        """The work that is to be done."""
        self._open = {bundle.chunk: len(bundle.subtasks) for bundle in self.bundles}
        self.work: dict[NodeId, NodeWork] = dict(work or {})
        """What each node did, kept up to date."""

    async def run(self, dispatcher: Dispatcher, *, interactive: bool = True) -> None:
        """Returns when every subtask has its finding. Leaving early (cancellation) withdraws what is still on nodes."""
        await dispatcher.carry_out(self.id, self.bundles, self.need, self, interactive=interactive)

    @property
    def parts_left(self) -> int:
        """Chunks that are not read to their end."""
        return len(self._open)

    def _bundles(self) -> list[Work]:
        bundles = []
        for bundle in self._plan.bundles:
            chunk = self._chunks[bundle.chunk]
            tasks = [self._plan.tasks[index] for index in bundle.tasks if (index, bundle.chunk) not in self._done]
            subtasks = {SubtaskId(f"{self.id}.{task.index}.{chunk.index}"): (task, chunk) for task in tasks}
            if subtasks:
                self._subtasks |= subtasks
                shared = estimate_tokens(prompts.SYSTEM + chunk.text)
                own = estimate_tokens(prompts.instruction(tasks[0], self._plan.overview))
                bundles.append(Work(chunk.index, tuple(subtasks), shared_tokens=shared, own_tokens=own))
        return bundles

    # What the dispatcher asks and tells.

    def lease(self, grant: Grant) -> Lease:
        chunk = self._chunks[grant.chunk]
        schema, limit = prompts.reply_schema(chunk), prompts.reply_tokens(chunk)
        self._emit(Leased(grant.node, grant.lease, chunk.document, self._page(chunk), len(grant.subtasks), grant.hedge))
        return Lease(
            id=grant.lease,
            model=grant.model,
            system=prompts.SYSTEM,
            shared=prompts.shared_text(chunk),
            subtasks=tuple(
                Subtask(id, prompts.instruction(self._subtasks[id][0], self._plan.overview), schema, limit) for id in grant.subtasks
            ),
            at_once=grant.at_once,
        )

    def progressed(self, grant: Grant, progress: Progress) -> None:
        chunk = self._chunks[grant.chunk]
        tokens = progress.read_tokens, progress.prompt_tokens, progress.completion_tokens
        self._emit(Reading(grant.node, chunk.document, self._page(chunk), *tokens))

    def completed(self, grant: Grant, subtask: SubtaskId, completion: Completion, *, wanted: bool) -> Failure | None:
        self._account(grant, completion)
        if not wanted:
            return None
        task, chunk = self._subtasks[subtask]
        try:
            finding = check_reply(completion.text, task, chunk, self._documents[chunk.document], grant.node)
        except MalformedReply as error:
            return Failure(FailureReason.BAD_REPLY, f"The reply is not what was asked for: {error}")
        if isinstance(finding, Rejected):
            # Counted, and asked of another node: a lying device must not cost an answer.
            self._rejected.add(subtask)
            self._keep(finding)
            return Failure(FailureReason.BAD_REPLY, "The quotation is not in the text.")
        self.work[grant.node] = replace(self.work[grant.node], subtasks=self.work[grant.node].subtasks + 1)
        self._keep(finding)
        return None

    def given_up(self, decision: GiveUp) -> None:
        task, chunk = self._subtasks[decision.subtask]
        if decision.subtask in self._rejected:
            self._close(task.index, chunk.index)
            self._done_with(chunk.index)
        else:
            self._keep(Failed(task.index, chunk.index, decision.reason, decision.message, decision.nodes))

    def tell(self, event: Event) -> None:
        if isinstance(event, NodeJoined):
            node, model = event.node, fitting(event.node, self.need)
            self.work.setdefault(
                node.id, NodeWork(node.id, node.name, model.name if model else "", node.engine, unchecked=node.unchecked)
            )
        self._emit(event)

    def _account(self, grant: Grant, completion: Completion) -> None:
        done, usage = self.work[grant.node], completion.usage
        self.work[grant.node] = replace(
            done,
            model=grant.model,
            prompt_tokens=done.prompt_tokens + usage.prompt_tokens,
            cached_tokens=done.cached_tokens + usage.cached_tokens,
            completion_tokens=done.completion_tokens + usage.completion_tokens,
            seconds=done.seconds + usage.seconds,
        )

    def _keep(self, finding: Finding) -> None:
        self._record(finding)
        if not isinstance(finding, Rejected):
            self._done_with(finding.chunk)
        self._emit(Found(finding))

    def _done_with(self, chunk: int) -> None:
        """A subtask of the chunk has come to its end."""
        self._open[chunk] -= 1
        if not self._open[chunk]:
            del self._open[chunk]

    def _page(self, chunk: Chunk) -> int | None:
        return self._documents[chunk.document].page_at(chunk.start)
