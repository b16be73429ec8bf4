"""The recorded calls of a whole store that may answer a simulated one, found by kind and name.

Only what was really called counts: replays, forks and simulations repeat or invent answers. What
a run superseded, what never came back whole and what cannot be restored is left out. All is read
by the store's own public queries: so it is of its workspace alone, and redacted as it is stored.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from workbench import ours, schema, sharing
from workbench.replay import recorded
from workbench.replay.simulate import Candidate, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workbench.recording import Calls
    from workbench.store.protocol import Body, Store
    from workbench.store.run import Run

MOST = 500
"""How many calls of a kind and name are kept: of the replayed run, and of all others together."""


def prepared(simulator: Simulator | None, run: Run, calls: Calls) -> Simulator:
    """Return a simulator over the run's store, with what its recorded calls may need read before.

    One that has a lake of its own keeps it.
    """
    found = simulator or Simulator()
    if found.lake is None:
        found = found.over(lake_of(run.store, source=run.run_id))
    if isinstance(found.lake, StoreLake):
        found.lake.read(zip(calls.kinds, calls.names, strict=True))
    return found


def lake_of(store: Store, *, source: str | None = None, most: int = MOST) -> StoreLake:
    """Return what finds a store's recorded calls by kind and name.

    Parameters
    ----------
    store
        A folder of exported runs, or a server.
    source
        The id of the run that is replayed: its calls are found in any case, and come first.
    most
        How many calls of one kind and name are read from it, and how many of the other runs
        together, the newest. Of a server whose lake this process cannot read, the newest
        `workbench.replay.recorded.LOOKED_AT` runs are looked at.

    Examples
    --------
    >>> import workbench as wb
    >>> lake = lake_of(wb.open("datasets"), most=20)
    >>> found = lake("tool", "look_up_order")
    >>> len(found), len({one.run_id for one in found})
    (20, 20)
    """
    return StoreLake(store, source=source, most=most)


class StoreLake:
    """See `lake_of`. What was read is kept, for each kind and name."""

    def __init__(self, store: Store, *, source: str | None, most: int) -> None:
        self._store = store
        self._source = source
        self._most = most
        self._known: dict[tuple[str, str], tuple[Candidate, ...]] = {}

    def __call__(self, kind: str, name: str) -> Sequence[Candidate]:
        """Return the recorded calls of a kind and name: the replayed run's, then the newest first.

        Raises
        ------
        WorkbenchError
            The store cannot be read.
        """
        if (kind, name) not in self._known:
            # Asked in the middle of a replay, whose guard lets nobody connect but us.
            ours.apart(lambda: self.read([(kind, name)]), name="workbench-lake")
        return self._known[kind, name]

    def read(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Read the calls of several kinds and names at once, before they are asked for."""
        missing = sorted(set(wanted) - self._known.keys())
        if not missing:
            return
        found: dict[tuple[str, str], list[Candidate]] = {pair: [] for pair in missing}
        rows, others = recorded.calls(self._store, missing, source=self._source, most=self._most)
        requests = _requests(rows, others)
        pools: dict[str, Mapping[str, Body]] = {}
        ranks = {self._source: 0}
        for row in rows.iter_rows(named=True):
            run_id = row["run_id"]
            if run_id not in pools:
                pools[run_id] = self._store.bodies(run_id)
                ranks.setdefault(run_id, len(ranks))
            one = _candidate(row, requests, pools[run_id], rank=ranks[run_id])
            if one is not None:
                found[row["kind"], row["name"]].append(one)
        self._known.update({pair: tuple(listed) for pair, listed in found.items()})


def _requests(rows: pl.DataFrame, others: pl.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what was asked, by run and step; what refers to an earlier request is written out."""
    texts = rows.select("run_id", "step_id", "asked")
    texts = pl.concat([texts.join(others, on=["run_id", "step_id"], how="anti"), others])
    unfolding: dict[str, sharing.Unfolding] = defaultdict(sharing.Unfolding)
    return {
        (run_id, step_id): unfolding[run_id].whole(step_id, _started.decode(text).request)
        for run_id, step_id, text in texts.iter_rows()
    }


_started = msgspec.json.Decoder(schema.CallStarted)
_ended = msgspec.json.Decoder(schema.CallEnded)


def _candidate(
    row: dict[str, Any],
    requests: Mapping[tuple[str, str], dict[str, Any]],
    pool: Mapping[str, Body],
    *,
    rank: int,
) -> Candidate | None:
    """Return a recorded call, or None where something of it is missing."""
    request = requests[row["run_id"], row["step_id"]]
    came = _ended.decode(row["came"])
    given_back = (came.outcome or {}).get("message")
    named = [*(request.get("messages") or []), *([given_back] if given_back else [])]
    if any(digest not in pool for digest in named) or sharing.lacks_beginning(request):
        return None
    told = bool(given_back and pool[given_back].get("error"))
    return Candidate(
        run_id=row["run_id"],
        seq=row["seq"],
        lane=row["lane"] or "root",
        ordinal=row["ordinal"] or 1,
        rank=rank,
        failed=row["status"] != "ok" or told,
        request=request,
        outcome=came.outcome,
        exception=came.exception,
        bodies={digest: pool[digest] for digest in named},
    )
