"""The timeline of a run: a widget that shows a million steps as well as ten."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, cast

import anywidget
import numpy as np
import polars as pl
import traitlets

from workbench.errors import UsageError
from workbench.widgets.assets import script, style
from workbench.widgets.facts import facts
from workbench.widgets.overview import affordable, overview
from workbench.widgets.packing import pack
from workbench.widgets.pairs import LETTERS, paired
from workbench.widgets.search import go
from workbench.widgets.still import html, summary
from workbench.widgets.tracks import Tracks, tracks
from workbench.widgets.words import told, with_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

By = Literal["time", "order", "cost"]
Lanes = Literal["structure", "kind"]

WHOLE = 2_000
WINDOW = 8_000
ANSWERS = {"window": "_window", "go": "_go", "step": "_step"}


class Timeline(anywidget.AnyWidget):
    """A run's steps in lanes, by time, order or cost.

    Up to 2,000 steps are saved with the notebook; of longer runs an overview of fixed size is, and
    single steps are fetched from the kernel. Make one with `run.timeline` or `timeline`.

    Attributes
    ----------
    selected
        The `seq` of each selected step; set it to select.
    selection
        The selected steps, a frame with the columns of `run.steps`.
    window
        The steps that are now in view, likewise.
    """

    _esm = script("timeline.js")
    _css = style("tokens.css", "timeline.css")

    facts = traitlets.Dict().tag(sync=True)
    steps = traitlets.Dict().tag(sync=True)
    overviews = traitlets.Dict().tag(sync=True)
    by = traitlets.Enum(("time", "order", "cost"), "time").tag(sync=True)
    lanes = traitlets.Enum(("structure", "kind"), "structure").tag(sync=True)
    height = traitlets.Int(None, allow_none=True).tag(sync=True)
    view = traitlets.List(traitlets.Float()).tag(sync=True)
    picked = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        steps: pl.DataFrame,
        *,
        info: Mapping[str, Any] | None = None,
        by: By = "time",
        lanes: Lanes = "structure",
        height: int | None = None,
        texts: Callable[[int], list[tuple[str, str]]] | None = None,
    ) -> None:
        info = info or {}
        self._track = tracks(steps, total_ms=info.get("duration_ms"))
        self._texts = texts
        self._lock = RLock()
        said = facts(self._track, info)
        few = len(self._track) <= WHOLE
        super().__init__(
            facts=said,
            steps=_packed(self._track) if few else {},
            overviews={} if few else _overviews(self._track),
            by="order" if by == "time" and not self._track.clock else by,
            lanes=lanes,
            height=height,
        )
        self.on_msg(self._answer)

    def __repr__(self) -> str:
        return summary(self._track, self.facts)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        with self._lock:
            still = html(self._track, self.facts, by=self.by, lanes=self.lanes)
        return {**(data or {}), "text/html": still, "text/plain": repr(self)}, metadata

    @property
    def selected(self) -> list[int]:
        """The `seq` of each selected step."""
        return cast("list[int]", self.selection["seq"].to_list())

    @selected.setter
    def selected(self, seqs: int | list[int]) -> None:
        wanted = [seqs] if isinstance(seqs, int) else list(seqs)
        known = self._track.frame["seq"]
        found = {seq: known.index_of(seq) for seq in wanted}
        missing = [seq for seq, index in found.items() if index is None]
        if missing:
            raise UsageError("the run has no such step", expected="seq of a step", found=missing)
        self.picked = [index for index in found.values() if index is not None]

    @property
    def selection(self) -> pl.DataFrame:
        """The selected steps, in the order in which they were picked."""
        return self._steps[self.picked]

    @property
    def window(self) -> pl.DataFrame:
        """The steps in view."""
        track = self._track
        axis = self._axis()
        a, b = self.view or (0.0, track.span(axis))
        return self._steps[track.inside(axis, a, b)]

    @property
    def _steps(self) -> pl.DataFrame:
        return self._track.frame.drop("asked", strict=False)

    def _axis(self) -> str:
        if self.by != "cost":
            return str(self.by)
        return "time" if self._track.clock else "order"

    def _answer(self, _widget: Any, content: dict[str, Any], _buffers: list[Any]) -> None:
        """Messages come on threads of their own: one at a time, and never a traceback."""
        reply: dict[str, Any] = {"id": content.get("id")}
        buffers: list[bytes] = []
        try:
            with self._lock:
                more, buffers = getattr(self, ANSWERS[content["ask"]])(content)
            reply |= more
        except Exception as error:  # noqa: BLE001 - the browser is told; the kernel goes on
            reply["failure"] = f"{type(error).__name__}: {error}"
        self.send(reply, buffers)

    def _window(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        by, lanes = str(content["by"]), str(content["lanes"])
        span = self._track.span(by)
        a = min(max(0.0, float(content["a"])), span)
        b = min(max(a + 1e-6, float(content["b"])), span + 1e-6)
        reply = {"by": by, "lanes": lanes}
        inside = self._track.inside(by, a, b)
        if len(inside) <= WINDOW:
            meta, data = pack(self._track, inside, lanes=lanes)
            return reply | {"steps": meta}, [data]
        bins = max(16, min(8192, int(content["bins"])))
        made = overview(self._track, by=by, lanes=lanes, a=a, b=b, bins=bins)
        return reply | {"overview": made.meta()}, [made.pack()]

    def _go(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        index = go(
            self._track,
            str(content["to"]),
            int(content["from"]),
            by=str(content["by"]),
            lanes=str(content["lanes"]),
            hidden=[int(code) for code in content.get("hidden", ())],
            text=str(content.get("text", "")),
        )
        found = [] if index is None else [index]
        meta, data = pack(self._track, np.asarray(found, np.int64), lanes=str(content["lanes"]))
        return {"steps": meta}, [data]

    def _step(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        row = self._track.frame.row(int(content["index"]), named=True)
        told = [("failed", str(row["error"]))] if row.get("error") else []
        if self._texts is not None:
            told = [*self._texts(int(row["seq"])), *told]
        return {"facts": [[label, text[:400]] for label, text in told]}, []


def _packed(track: Tracks) -> dict[str, Any]:
    meta, data = pack(track, np.arange(len(track)))
    return meta | {"data": data}


def _overviews(track: Tracks) -> dict[str, Any]:
    axes = ("time", "order") if track.clock else ("order",)
    bins = affordable(track)
    made = {
        by: overview(track, by=by, lanes="structure", a=0.0, b=track.span(by), bins=bins)
        for by in axes
    }
    return {by: {"meta": one.meta(), "data": one.pack()} for by, one in made.items()}


def timeline(
    run: Any, *, by: By = "time", lanes: Lanes = "structure", height: int | None = None
) -> Timeline:
    """Show a run as a timeline.

    Parameters
    ----------
    run
        A run, a frame with the columns of `run.steps`, or two runs: A is drawn above B, with a
        line for each aligned call; `selection` then says of which run a step is, in `run`.
    by
        What width means: time, order of the steps, or cost. A source without times is drawn in
        order.
    lanes
        One lane for each place where work was spawned, or one for each kind.
    height
        Most pixels of the lanes before they scroll; 560 by default.
    """
    if isinstance(run, list | tuple):
        return _pair(run, by=by, lanes=lanes, height=height)
    if isinstance(run, pl.DataFrame):
        return Timeline(run, by=by, lanes=lanes, height=height)
    steps, texts = with_asked(run), told(run)
    return Timeline(steps, info=run.info, by=by, lanes=lanes, height=height, texts=texts)


def _pair(runs: Any, *, by: By, lanes: Lanes, height: int | None) -> Timeline:
    if len(runs) != len(LETTERS):
        raise UsageError("a timeline shows one run or two", expected="[a, b]", found=len(runs))
    steps, info = paired(*runs)
    return Timeline(steps, info=info, by=by, lanes=lanes, height=height)
