"""A certified run is run again, in a process without a way out, and must come to the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import store as stores
from workbench.capture import code
from workbench.replay.checking import Check, same
from workbench.replay.verb import replay
from workbench.store import export

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.replay.result import ReplayResult
    from workbench.schema import RunHeader
    from workbench.store.protocol import RunWriter
    from workbench.store.run import Run

_FROM_SOURCE = frozenset(("exact", "exact_redacted", "normalised", "lane", "run", "miss"))
"""The match levels of calls that the source alone answers."""


class _Scratch:
    """Takes the one new run of a rerun, in a folder."""

    read_only = False
    address = "scratch"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def writer(self, header: RunHeader) -> RunWriter:
        return export.writer(self._folder, header)

    def run(self, run_id: str) -> Run:
        return stores.read(self._folder).run(run_id)


def check_again(
    runs: Mapping[str, Run],
    document: Mapping[str, Any] | None,
    *,
    agent: Any,
    isolate: bool,
) -> list[Check]:
    """Run again what a certificate is of, and compare what comes of it.

    Parameters
    ----------
    runs
        The runs at hand: ``source``, ``replay``.
    document
        The certificate; None for a run that has none.
    agent, isolate
        As in `workbench.replay`.
    """
    said = document or {}
    certified = said.get("replay") is not None
    mode = said.get("mode")
    by_source = certified and "source" in runs and _FROM_SOURCE.issuperset(said["match_levels"])
    if by_source and mode in ("exact", "cached"):
        result = _rerun(runs["source"], agent, isolate=isolate, mode=mode, said=said)
        return [
            *_compared(result, said, root=said["replay"]["content_root"]),
            same("rerun.match_levels", said["match_levels"], result.certificate["match_levels"]),
            same("rerun.calls", said["calls"], result.certificate["calls"]),
        ]
    # what came of a fork, or of live calls, is known from the new run alone
    run = runs["replay"] if "replay" in runs else runs["source"]
    result = _rerun(run, agent, isolate=isolate, mode="exact", said={})
    return _compared(result, {**said, "identical": True}, root=run.content_root)


def _rerun(
    run: Run, agent: Any, *, isolate: bool, mode: Any, said: Mapping[str, Any]
) -> ReplayResult:
    collect = bool((said.get("policy") or {}).get("collect"))
    with tempfile.TemporaryDirectory(prefix="workbench-rerun-") as folder:
        into: Any = _Scratch(Path(folder, "run"))
        return replay(run, agent, mode=mode, isolate=isolate, collect=collect, into=into)


def _compared(result: ReplayResult, said: Mapping[str, Any], *, root: str) -> list[Check]:
    first = next(iter(result.divergences), None)
    found = str(first) if first is not None and not result.identical else result.identical
    return [
        _same_code(said, result.certificate),
        Check(
            name="rerun.identical",
            ok=result.identical == said["identical"],
            expected=said["identical"],
            found=found,
        ),
        same("rerun.content_root", root, _root_of(result)),
    ]


def _same_code(said: Mapping[str, Any], now: Mapping[str, Any]) -> Check:
    """Say whether the agent's code is what the certificate was made with."""
    if "code" not in said:
        changed = [d["expected"] for d in now.get("divergences", ()) if d["kind"] == "code_changed"]
        return Check(name="rerun.code", ok=not changed, found=changed or None)
    differing = code.differences(_code(said), _code(now))
    return Check(name="rerun.code", ok=not differing, found=[n for n, _, _ in differing] or None)


def _root_of(result: ReplayResult) -> str | None:
    """Return what a new run's content was, or None where it could not be read back."""
    return (result.certificate.get("replay") or {}).get("content_root")


def _code(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**(document.get("code") or {}), "distributions": {"python": document.get("python")}}
