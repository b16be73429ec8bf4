"""Recorded calls of a store by kind and name: the newest, and those of one run in any case.

By one query where the store's columns can be read at once; of a server whose lake this process
cannot read, run by run from the newest on, so that no more than one run is held.

Both give a frame of calls (``run_id step_id seq kind name lane ordinal asked status came``, the
named run's first, then the newest run's, by ``seq``; ``asked`` and ``came`` are payloads), and one
of all requests that those may be written by reference to (``run_id step_id asked``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import sharing
from workbench.store.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.store.protocol import Store

    Pair = tuple[str, str]
    Found = tuple[pl.DataFrame, pl.DataFrame]

LOOKED_AT = 1000
"""How many of a server's newest runs are looked at one by one."""

_CALLS = {
    **dict.fromkeys(("run_id", "step_id"), pl.String),
    "seq": pl.Int64,
    **dict.fromkeys(("kind", "name", "lane"), pl.String),
    "ordinal": pl.Int64,
    **dict.fromkeys(("asked", "status", "came"), pl.String),
}
_ASKED = dict.fromkeys(("run_id", "step_id", "asked"), pl.String)
_RESTORABLE = ("full", "redacted", "reconstructed")


def calls(store: Store, wanted: Sequence[Pair], *, source: str | None, most: int) -> Found:
    """Return the calls that were really made and came back whole, and what they refer to.

    ``most`` of each kind and name are of the run ``source``, and as many of all others together.
    """
    if _is_read_at_once(store):
        return _queried(store, wanted, source=source, most=most)
    return _walked(store, wanted, source=source, most=most)


def _is_read_at_once(store: Any) -> bool:
    """Say whether a query over the store reads columns, and not a server's every run."""
    snapshots = getattr(store, "snapshots", None)
    return snapshots is None or bool(Lake.found(snapshots().get("tables") or {}).tables)


def _refer(found: pl.DataFrame) -> pl.Series:
    return found["asked"].str.contains(sharing.REFERENCE, literal=True)


# ---- by one query


def _queried(store: Store, wanted: Sequence[Pair], *, source: str | None, most: int) -> Found:
    found = store.sql(_query(wanted, source=source, most=most))
    runs = found.filter(_refer(found))["run_id"].unique().sort().to_list()
    if not runs:
        return found, pl.DataFrame(schema=_ASKED)
    listed = ", ".join(map(_text, runs))
    return found, store.sql(
        f"""
        select run_id, step_id, payload as asked from events
        where event_type = 'call_started' and kind = 'model' and run_id in ({listed})
        order by run_id, seq
        """  # noqa: S608 - quoted texts
    )


def _query(wanted: Sequence[Pair], *, source: str | None, most: int) -> str:
    pairs = ", ".join(f"({_text(kind)}, {_text(name)})" for kind, name in wanted)
    own = f"run_id = {_text(source or '')}"
    qualities = ", ".join(map(_text, _RESTORABLE))
    # every part is one of our own words, a number or a quoted text
    return f"""
        with began as (
            select run_id, step_id, seq, kind, name, lane, ordinal, payload as asked
            from events
            where event_type = 'call_started' and (kind, name) in ({pairs})
                and coalesce(mode, 'live') = 'live'
        ), ended as (
            select run_id, step_id, status, payload as came
            from events
            where event_type = 'call_ended' and (kind, name) in ({pairs})
                and status in ('ok', 'error') and coalesce(quality, 'full') in ({qualities})
            qualify row_number() over (partition by run_id, step_id order by seq) = 1
        ), made as (select run_id, created_at, superseded_by from runs)
        select began.*, status, came
        from began join ended using (run_id, step_id) join made using (run_id)
        where superseded_by is null or {own}
        qualify row_number() over (
            partition by kind, name, {own} order by created_at desc, run_id desc, seq
        ) <= {int(most)}
        order by {own} desc, created_at desc, run_id desc, seq
    """  # noqa: S608


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# ---- run by run


def _walked(store: Store, wanted: Sequence[Pair], *, source: str | None, most: int) -> Found:
    parts, asked = [pl.DataFrame(schema=_CALLS)], [pl.DataFrame(schema=_ASKED)]
    room = Counter(dict.fromkeys(wanted, most))
    for run_id in _runs(store, source):
        left = dict.fromkeys(wanted, most) if run_id == source else +room
        if not left:
            break
        if not _has_any(store.events(run_id, columns="timeline"), list(left)):
            continue
        events = store.events(run_id).with_columns(run_id=pl.lit(run_id))
        found = _paired(events, left)
        if run_id != source:
            room.subtract(zip(found["kind"], found["name"], strict=True))
        parts.append(found)
        if _refer(found).any():
            models = (pl.col("event_type") == "call_started") & (pl.col("kind") == "model")
            asked.append(events.filter(models).select("run_id", "step_id", asked="payload"))
    return pl.concat(parts), pl.concat(asked)


def _runs(store: Store, source: str | None) -> Iterator[str]:
    if source is not None:
        yield source
    newest = store.runs(limit=LOOKED_AT).filter(pl.col("superseded_by").is_null())
    yield from (run_id for run_id in newest["run_id"] if run_id != source)


def _is_any(wanted: Sequence[Pair]) -> pl.Expr:
    named = ((pl.col("kind") == kind) & (pl.col("name") == name) for kind, name in wanted)
    return pl.any_horizontal(*named)


def _has_any(narrow: pl.DataFrame, wanted: Sequence[Pair]) -> bool:
    return narrow.filter((pl.col("event_type") == "call_started") & _is_any(wanted)).height > 0


def _paired(events: pl.DataFrame, left: dict[Pair, int]) -> pl.DataFrame:
    """Return the calls of one run, of each kind and name as many as there is room for."""
    chosen = events.filter(_is_any(list(left)))
    really = pl.col("mode").fill_null("live") == "live"
    began = chosen.filter((pl.col("event_type") == "call_started") & really)
    came_back = pl.col("status").is_in(["ok", "error"])
    restorable = pl.col("quality").fill_null("full").is_in(_RESTORABLE)
    ended = chosen.filter((pl.col("event_type") == "call_ended") & came_back & restorable)
    ended = ended.unique("step_id", keep="first", maintain_order=True)
    joined = began.select(pl.exclude("status"), asked="payload").join(
        ended.select("step_id", "status", came="payload"), on="step_id"
    )
    several = [
        joined.filter(_is_any([pair])).sort("seq").head(count) for pair, count in left.items()
    ]
    return pl.concat(several).sort("seq").select(list(_CALLS))
