"""What a recording holds and what it lacks, told from its events."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Row = dict[str, Any]
    Bodies = Callable[[], Mapping[str, Any]]

_LOST = frozenset(("object", "cycle", "deep"))
_NAMED_GAPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that crossed the boundary, or happened, and was not recorded."""

    seq: int
    kind: str | None
    name: str | None
    reason: str | None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The first value that cannot be restored: where it stands, and of which class it was.

    ``pointer`` is a JSON pointer into the event's payload, or, where ``message`` is a digest, into
    that message's body; both are null where the event itself does not tell.
    """

    seq: int
    kind: str | None
    name: str | None
    message: str | None = None
    pointer: str | None = None
    of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a recording holds, and everything that it is known to lack.

    What no interception can see (the README lists it) stands in no recording, and so not here.

    Attributes
    ----------
    calls
        Kind → how many calls.
    gaps
        What was seen and not recorded.
    lossy
        How many calls, and of the run's input and output, hold a value that cannot be restored.
    first_lossy
        Where the first of these values stands; null where nothing is lossy.
    truncated
        How many calls stand without their contents, since the store would not take them.
    unfinished
        How many calls never came back.
    inferred
        How many calls ran beside other work of their lane, so that their order is chance.
    redacted
        How many calls hold placeholders.
    """

    calls: dict[str, int]
    gaps: tuple[Gap, ...] = ()
    lossy: int = 0
    first_lossy: Lost | None = None
    truncated: int = 0
    unfinished: int = 0
    inferred: int = 0
    redacted: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing that an exact replay needs."""
        return not self.lacks

    @property
    def lacks(self) -> list[str]:
        """What is missing, a sentence each."""
        return [text for text in self._sentences() if text]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "; ".join([self._counted(), *(self.lacks or ["lacks nothing known"])])

    def _repr_html_(self) -> str:
        lines = self.lacks or ["lacks nothing known"]
        points = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        return f"<div><b>{html.escape(self._counted())}</b><ul>{points}</ul></div>"

    def _counted(self) -> str:
        total = sum(self.calls.values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.calls.items())
        return f"{_many(total, 'call')} recorded" + (f": {kinds}" if kinds else "")

    def _sentences(self) -> Iterator[str]:
        if self.gaps:
            count = sum(gap.count for gap in self.gaps)
            yield f"{count} seen and not recorded: {_named(self.gaps)}"
        if self.first_lossy is not None:
            yield f"{self.lossy} lossy, the first at {_placed(self.first_lossy)}"
        if self.truncated:
            yield f"{self.truncated} without their contents, which the store would not take"
        if self.unfinished:
            yield f"{self.unfinished} never came back"
        if self.inferred:
            yield f"{self.inferred} of inferred order: they ran beside other work of their lane"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _named(gaps: Iterable[Gap]) -> str:
    names = list(dict.fromkeys(" ".join(filter(None, (gap.kind, gap.name))) for gap in gaps))
    return ", ".join(names[:_NAMED_GAPS] + (["…"] if len(names) > _NAMED_GAPS else []))


def _placed(lost: Lost) -> str:
    who = " ".join(filter(None, (lost.kind, lost.name)))
    text = f"seq {lost.seq}" + (f", {who}" if who else "")
    if lost.pointer is None:
        return text
    where = f"{lost.pointer} of message {lost.message[:12]}" if lost.message else lost.pointer
    return f"{text}: {where} was a {lost.of}"


# ---- from events


def coverage(events: pl.DataFrame, bodies: Bodies) -> Coverage:
    """Return what a run's recording holds and lacks.

    Parameters
    ----------
    events
        With the columns `EVENTS`, by ``seq``.
    bodies
        Returns digest → message body; asked only where a message may hold what was lost.

    Examples
    --------
    >>> from workbench.store import read
    >>> store = read("datasets")
    >>> store.run(store.runs()["run_id"][0]).coverage.lacks
    []
    """
    starts, ends = (events.filter(pl.col("event_type") == f"call_{what}") for what in _ENDS)
    outcomes = ends.unique("step_id", keep="first").select("step_id", ended=pl.col("quality"))
    calls = starts.join(outcomes, on="step_id", how="left", maintain_order="left").with_columns(
        came=pl.col("step_id").is_in(outcomes["step_id"].implode()),
        quality=pl.coalesce("ended", "quality"),
    )
    roots = events.filter(pl.col("event_type").is_in(["run_started", "run_ended"]))
    kinds = calls["kind"].value_counts(sort=True)
    quality = calls["quality"]
    return Coverage(
        calls=dict(kinds.iter_rows()),
        gaps=tuple(_gaps(events)),
        lossy=int((quality == "lossy").sum()) + int((roots["quality"] == "lossy").sum()),
        first_lossy=_first_lossy(events, bodies),
        truncated=int((quality == "truncated").sum())
        + int((roots["quality"] == "truncated").sum()),
        unfinished=int((~calls["came"]).sum()),
        inferred=int((calls["order"] == "inferred").sum()),
        redacted=int((quality == "redacted").sum()),
    )


_ENDS = ("started", "ended")


def _gaps(events: pl.DataFrame) -> Iterator[Gap]:
    remarks = events.filter(
        (pl.col("event_type") == "annotated") & pl.col("payload").str.contains("capture_gap")
    )
    for seq, payload in remarks.select("seq", "payload").iter_rows():
        body = msgspec.json.decode(payload)
        found = body.get("value")
        if body.get("label") != "capture_gap":
            continue
        said = found if isinstance(found, dict) else {}
        yield Gap(
            seq=seq,
            kind=said.get("kind"),
            name=said.get("name"),
            reason=said.get("reason"),
            count=int(said.get("events") or 1),
        )


def _first_lossy(events: pl.DataFrame, bodies: Bodies) -> Lost | None:
    """Return the place of the first lost value, in the first event that is called lossy for it."""
    lossy = events.filter((pl.col("quality") == "lossy") & (pl.col("event_type") != "chunk"))
    first: Lost | None = None
    for row in (
        lossy.select("seq", "kind", "name", "payload").head(_LOOKED_AT).iter_rows(named=True)
    ):
        payload = orjson.loads(row.pop("payload") or "{}")
        first = first or Lost(**row)
        for pointer, of in _lost(payload, ""):
            return Lost(**row, pointer=pointer, of=of)
        for digest in _digests(payload):
            for pointer, of in _lost(bodies().get(digest), ""):
                return Lost(**row, message=digest, pointer=pointer, of=of)
    return first


_LOOKED_AT = 20


def _lost(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _lost(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        inner = value.get("$value")
        if value.get("$type") in _LOST and len(value) == 2:  # noqa: PLR2004 - a tag and its value
            yield pointer, str(inner.get("class") if isinstance(inner, dict) else inner)
            return
        for key, item in value.items():
            yield from _lost(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")


def _digests(payload: Row) -> list[str]:
    """Return the messages an event names, the last ones first: they are the new ones."""
    asked = payload.get("request") or payload.get("input") or {}
    listed = asked.get("messages") if isinstance(asked, dict) else None
    answered = (payload.get("outcome") or {}).get("message")
    found = [*(listed if isinstance(listed, list) else []), answered]
    return [one for one in reversed(found) if isinstance(one, str)]
