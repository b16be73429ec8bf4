"""Our own exported folders and bundles: ids and events are kept as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from workbench import hashing
from workbench.errors import Conflict, FormatError, UnknownFormat
from workbench.formats import Counts
from workbench.importers.storing import Ready
from workbench.schema import RunHeader
from workbench.store import BundleStore, read
from workbench.store.bundle import looks_like_one
from workbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from workbench.importers.storing import Storing
    from workbench.store import Store

_FACTS = ("name", "agent", "source", "session", "mode", "forked_at", "edits_hash")
_LINKS = ("parent_run_id", "supersedes")
_MANIFEST = "manifest.json"


def folders(paths: Iterable[Path]) -> list[Path]:
    """Return the exported folders at or under the paths, and the bundles.

    Raises
    ------
    UnknownFormat
        There is no exported folder at a path, and it is no bundle.
    """
    return [folder for path in paths for folder in _at(path)]


def _at(path: Path) -> list[Path]:
    if path.name == _MANIFEST:
        return [path.parent]
    if path.is_file() and looks_like_one(path):
        return [path]
    found = sorted(each.parent for each in path.rglob(_MANIFEST)) if path.is_dir() else []
    if not found:
        raise UnknownFormat(
            "this is no folder of exported runs",
            where=str(path),
            expected="a folder with manifest.json",
            hint="`workbench export RUN --to DIR` makes one",
        )
    return found


def import_folder(folder: Path, *, storing: Storing) -> FormatError | Conflict | None:
    """Import the runs of an exported folder or bundle; return why nothing of it was, else null."""
    try:
        with read(folder, verify=True) as exported:
            rows = list(exported.runs().sort("created_at", "run_id").iter_rows(named=True))
            if isinstance(exported, BundleStore):
                _put_artifacts(exported, storing.store)
            refused = [
                _import_run(Run(exported, row), folder, storing=storing)
                for row in _parents_first(rows)
            ]
    except FormatError as error:
        storing.summary.skip(str(folder), error)
        return error
    return refused[0] if refused and all(refused) else None


def _put_artifacts(bundle: BundleStore, store: Store) -> None:
    """Store what a bundle's runs made; its certificate is one of them."""
    for sha256 in bundle.held:
        store.put_artifact(bundle.get_artifact(sha256))
    if bundle.certificate is not None:
        store.put_artifact(bundle.certificate)


def _parents_first(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give runs in an order in which every link leads back."""
    left = {str(row["run_id"]): row for row in rows}
    while left:
        free = [
            run_id
            for run_id, row in left.items()
            if not any(row[link] in left and row[link] != run_id for link in _LINKS)
        ]
        for run_id in free or list(left):
            yield left.pop(run_id)


def _import_run(run: Run, folder: Path, *, storing: Storing) -> Conflict | None:
    info = run.info
    storing.count(
        Counts(
            messages=run.messages.height,
            tool_calls=info["tool_calls"] or 0,
            tool_errors=info["tool_errors"] or 0,
            cost_unknown=bool(info["unknown_cost_parts"]),
        )
    )
    if storing.has(run.run_id):
        differs = _differs(run, storing)
        if differs is not None:
            storing.summary.skip(str(folder), differs)
        return differs
    storing.flush(before=[info[link] for link in _LINKS if info[link]])
    events = [msgspec.structs.replace(e, seq=None, received_at=None) for e in run.event_log()]
    storing.put(Ready(header=_header(run), events=events, bodies=run.bodies(), file=str(folder)))
    return None


def _differs(run: Run, storing: Storing) -> Conflict | None:
    """Refuse another run under an id that is taken; by rules of redaction it could be the same."""
    if storing.redacts:
        return None
    storing.flush(before=[run.run_id])
    there = storing.store.manifest(run.run_id)["hashes"]["log_root"]
    here = hashing.log_root(
        (event.writer, event.writer_seq, hashing.event_digest(event)) for event in run.event_log()
    )
    if there == here:
        return None
    return Conflict(
        "a run of this id is there already, with other events",
        where=run.run_id,
        expected=f"log_root {there}",
        found=here,
        run_id=run.run_id,
    )


def _header(run: Run) -> RunHeader:
    said = {name: run.info[name] for name in (*_FACTS, *_LINKS) if run.info.get(name) is not None}
    said["labels"] = orjson.loads(run.info.get("labels") or "{}")
    return msgspec.convert({"run_id": run.run_id, **said}, RunHeader)
