"""State that a graph's thread had before the run: part of the recording, and given to a replay.

Kept is what LangGraph needs to go on: the thread's checkpoint, and those of subgraphs that wait in
it or keep a state of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.channels import DeltaChannel

from workbench import hashing
from workbench.capture import values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

    from workbench.capture.session import Session

LABEL = "earlier_state"


class Thread:
    """A thread that a graph is about to go on in, and where its state is saved."""

    def __init__(self, session: Session, graph: Any, saver: Any, thread: dict[str, Any]) -> None:
        self._session = session
        self._graph = graph
        self._saver = saver
        self._thread = thread
        self._latest = {"configurable": {"checkpoint_ns": "", **thread}}
        self._all = {"configurable": {"thread_id": thread["thread_id"]}}

    def keep(self) -> None:
        """Write what the thread's state was, where it had any."""
        try:
            latest = self._saver.get_tuple(self._latest)
            others = self._saver.list(self._all) if latest and self._has_subgraphs else ()
            self._write(latest, others)
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            self._unreadable(error)

    async def akeep(self) -> None:
        """Do the same with a saver that awaits."""
        try:
            latest = await self._saver.aget_tuple(self._latest)
            others: list[CheckpointTuple] = []
            if latest and self._has_subgraphs:
                others = [one async for one in _alist(self._saver, self._all)]
            self._write(latest, others)
        except Exception as error:  # noqa: BLE001 - see above
            self._unreadable(error)

    @property
    def _has_subgraphs(self) -> bool:
        return any(node.subgraphs for node in self._graph.nodes.values())

    def _unreadable(self, error: Exception) -> None:
        reason = f"what the thread held could not be read: {error!r}"
        self._session.gap("state", "checkpoint", reason=reason)

    def _write(self, latest: CheckpointTuple | None, others: Iterable[CheckpointTuple]) -> None:
        if latest is None:
            return
        if any(isinstance(kept, DeltaChannel) for kept in self._graph.channels.values()):
            reason = "the thread's state is kept as changes, back to its beginning"
            self._session.gap("state", "checkpoint", reason=reason)
            return
        freeze = values.Freezer()
        kept = {_namespace(latest): latest}
        waiting = {write[0] for write in latest.pending_writes or ()}
        for one in others:  # the newest of each comes first
            if _is_needed(_namespace(one), waiting):
                kept.setdefault(_namespace(one), one)
        body = {
            "thread_id": self._thread["thread_id"],
            "checkpoints": [_form(one, freeze) for one in kept.values()],
        }
        self._session.journal.put(
            "annotated",
            payload=hashing.dumps({"label": LABEL, "value": body}),
            lane="root",
            quality="lossy" if freeze.lossy else "full",
        )


async def _alist(saver: Any, config: Any) -> AsyncIterator[CheckpointTuple]:
    async for one in saver.alist(config):
        yield one


def _namespace(one: CheckpointTuple) -> str:
    return str(one.config["configurable"].get("checkpoint_ns") or "")


def _is_needed(namespace: str, waiting: set[str]) -> bool:
    """Say whether a subgraph keeps its own state, or waits in a task that has begun."""
    _, colon, task = namespace.partition("|")[0].partition(":")
    return not colon or task in waiting


def _form(one: CheckpointTuple, freeze: values.Freezer) -> dict[str, Any]:
    parent = (one.parent_config or {}).get("configurable") or {}
    return {
        "namespace": _namespace(one),
        "parent": parent.get("checkpoint_id"),
        "checkpoint": freeze(dict(one.checkpoint)),
        "metadata": freeze(dict(one.metadata)),
        "writes": freeze([list(write) for write in one.pending_writes or ()]),
    }


def put_back(saver: BaseCheckpointSaver[Any], form: dict[str, Any]) -> None:
    """Give a fresh saver the state that a recorded thread had."""
    for kept in form["checkpoints"]:
        place = {"thread_id": form["thread_id"], "checkpoint_ns": kept["namespace"]}
        checkpoint = values.thaw(kept["checkpoint"])
        came_after: Any = {"configurable": {**place, "checkpoint_id": kept["parent"]}}
        metadata = values.thaw(kept["metadata"])
        saver.put(came_after, checkpoint, metadata, checkpoint["channel_versions"])
        here: Any = {"configurable": {**place, "checkpoint_id": checkpoint["id"]}}
        by_task: dict[str, list[tuple[str, Any]]] = {}
        for task, channel, value in values.thaw(kept["writes"]):
            by_task.setdefault(task, []).append((channel, value))
        for task, writes in by_task.items():
            saver.put_writes(here, writes, task)
