"""One run, and its frames."""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from workbench import frames
from workbench.recording import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workbench.recording import Recording
    from workbench.schema import Event
    from workbench.store.follow import Following
    from workbench.store.protocol import Body, Store

_PAGE = 20_000  # events, as many as in a row group of an export
_CACHED = ("events", "steps", "calls", "messages", "coverage", "digest", "content_root", "_bodies")


class Run:
    """A run of a store. Its frames are read when first used and then kept; see `refresh`.

    ``info`` is the run's row (the columns `workbench.frames.RUNS`, labels as text).

    Examples
    --------
    >>> from workbench.store import read
    >>> store = read("datasets")
    >>> run = store.run(store.runs()["run_id"][0])
    >>> run.calls.columns[:5]
    ['seq', 'ended_seq', 'step_id', 'parent_step_id', 'kind']
    """

    def __init__(self, store: Store, info: dict[str, Any]) -> None:
        self.store = store
        self.info = info

    def __repr__(self) -> str:
        what = self.source or self.name or ""
        return f"<Run {self.run_id} {self.status}{' ' + what if what else ''}>"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.info["run_id"])

    @property
    def name(self) -> str | None:
        """The name it was given, or null."""
        return self.info.get("name")

    @property
    def source(self) -> str | None:
        """``format:path[#item]`` of an imported run."""
        return self.info.get("source")

    @property
    def status(self) -> str:
        """``running waiting done failed cancelled diverged lost``."""
        return str(self.info["status"])

    @property
    def labels(self) -> dict[str, Any]:
        """The run's labels."""
        return dict(orjson.loads(self.info.get("labels") or "{}"))

    @cached_property
    def events(self) -> pl.DataFrame:
        """Every event by ``seq``, with the columns `workbench.frames.EVENTS`."""
        return self.store.events(self.run_id)

    @cached_property
    def steps(self) -> pl.DataFrame:
        """Every step and call by ``seq``, with the columns `workbench.frames.STEPS`."""
        if "events" in self.__dict__:
            return frames.steps(self.events)
        return self._steps(self.store.events(self.run_id, columns="timeline"))

    def window(self, first: int, last: int) -> pl.DataFrame:
        """Return the steps among some events, without reading the others.

        Parameters
        ----------
        first, last
            The events' ``seq``, both included.

        Returns
        -------
        polars.DataFrame
            With the columns `workbench.frames.STEPS`. A step that began before has its own end's
            ``seq`` in both columns; one that ended later is ``running``.

        Examples
        --------
        >>> from workbench.store import read
        >>> store = read("datasets")
        >>> run = store.run(store.runs()["run_id"][0])
        >>> run.window(1, run.events["seq"].max()).equals(run.steps)
        True
        """
        return self._steps(
            self.store.events(self.run_id, columns="timeline", after=first - 1, before=last + 1)
        )

    def _steps(self, narrow: pl.DataFrame) -> pl.DataFrame:
        """Pair narrow events; what was raised is read for those that failed, and only for them."""
        failed = narrow.filter(pl.col("status").is_in(frames.FAILED))["seq"]
        events = frames.fitted(narrow, frames.EVENTS)
        if len(failed):
            told = self.store.events(
                self.run_id, failed=True, after=failed[0] - 1, before=failed[-1] + 1
            )
            payloads = told.select("seq", "payload")
            events = events.drop("payload").join(payloads, on="seq", how="left").sort("seq")
        return frames.steps(events, begun=self.info.get("started_at"))

    @cached_property
    def calls(self) -> pl.DataFrame:
        """Every call by ``seq``, with the columns `workbench.frames.CALLS`."""
        return frames.calls(self.events)

    @cached_property
    def messages(self) -> pl.DataFrame:
        """The conversation: ``index role text tool_calls tool error seq``, one row a message."""
        from workbench.frames.messages import messages

        return messages(self.event_log(), self.bodies())

    @cached_property
    def coverage(self) -> frames.Coverage:
        """What the recording holds, and what it is known to lack."""
        return frames.coverage(self.events, self.bodies)

    @cached_property
    def digest(self) -> str:
        """The root over all event digests (``log_root``): changes with any byte of the log."""
        return frames.log_root(self.events)

    @cached_property
    def content_root(self) -> str:
        """The root over requests and outcomes: equal for equal runs, whenever they ran."""
        return frames.content_root(self.events)

    @property
    def input(self) -> Any:
        """What the root was called with, as canonical JSON; pooled messages are put in."""
        return frames.root_input(self.events, self.bodies)

    @property
    def output(self) -> Any:
        """What the root gave back, as canonical JSON; null when it raised or still runs."""
        return frames.root_output(self.events, self.bodies)

    def step_outputs(self) -> dict[str, Any]:
        """Return step id → what the step gave back, as canonical JSON, of each that gave something.

        Steps are those of `workbench.step`, and the later roots of a ``with wb.record`` block.
        """
        return frames.step_outputs(self.events, self.bodies)

    @property
    def exception(self) -> dict[str, Any] | None:
        """What the root raised: ``class``, ``message``, ``args``."""
        return frames.root_body(self.events, "run_ended").get("exception")

    def event_log(self) -> list[Event]:
        """Return every event as a struct, by ``seq``."""
        return frames.to_events(self.events)

    def pages(self) -> Iterator[pl.DataFrame]:
        """Give the frame of `events` in pieces, of which one is in memory at a time.

        Where the whole frame was read before, these are pieces of it.
        """
        if "events" in self.__dict__:
            yield from self.events.iter_slices(_PAGE)
            return
        last, is_more = None, True
        while is_more:
            page = self.store.events(self.run_id, after=last, limit=_PAGE)
            is_more = page.height >= _PAGE
            if page.height:
                last = page["seq"][-1]
                yield page

    def recording(self) -> Recording:
        """Return the run as a replay reads it; it is not held whole, and not kept here."""
        found = frames.recorded(self.pages(), self.pool())
        if found.lacks_messages:  # the run went on between its messages and its events
            found = frames.recorded(self.pages(), self.pool())
        return found

    def written(self) -> frames.Written | Recording:
        """Return what a certificate says of the run; as a rule at half the cost of `recording`."""
        digests = (digest for digest, _ in self.store.messages(self.run_id))
        return frames.written(self.pages(), digests) or self.recording()

    def bodies(self) -> dict[str, Body]:
        """Return digest → message body of every message that the run names."""
        return self._bodies

    def pool(self) -> Mapping[str, Body]:
        """Return what `bodies` does; each message is parsed when it is asked for, and not kept."""
        known = self.__dict__.get("_bodies")
        return Pool(self.store.messages(self.run_id)) if known is None else known

    @cached_property
    def _bodies(self) -> dict[str, Body]:
        return self.store.bodies(self.run_id)

    def refresh(self) -> Run:
        """Read the run anew when it is next looked at, and return it."""
        for name in _CACHED:
            self.__dict__.pop(name, None)
        self.info = self.store.row(self.run_id)
        return self

    def cancel(self, *, reason: str | None = None) -> Run:
        """End the run as cancelled, and return it as it is then; see `Store.cancel`."""
        self.store.cancel(self, reason=reason)
        return self.refresh()

    @property
    def forks(self) -> pl.DataFrame:
        """The runs that were forked or replayed from this one, newest first."""
        return self.store.runs(parent_run_id=self.run_id)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run consists of: artifacts, counts, writers, hashes and its health."""
        return self.store.manifest(self)

    def follow(
        self, *, after: int = 0, timeout: float | None = None
    ) -> Following | Iterator[pl.DataFrame]:
        """Return an iterator of frames of the run's events as they come; see `RemoteStore.follow`.

        The frames of this object stay as they are; `refresh` reads them anew.

        Examples
        --------
        >>> from workbench.store import read
        >>> store = read("datasets")
        >>> run = store.run(store.runs()["run_id"][0])
        >>> for frame in run.follow(after=2):
        ...     print(frame["seq"][0], frame.height == run.events.height - 2)
        3 True
        """
        follow = getattr(self.store, "follow", None)
        if follow is not None:
            following: Following = follow(self, after=after, timeout=timeout)
            return following
        # what lies in files has ended
        frame = self.store.events(self.run_id, after=after)
        return iter([frame] if frame.height else [])

    def timeline(self, **options: Any) -> Any:
        """Return the run's timeline widget."""
        # a view is a plug-in above this layer, so it is looked up by name
        return importlib.import_module("workbench.widgets").timeline(self, **options)
