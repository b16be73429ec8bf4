"""How the report was made, so that anyone can make it again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.report import figures
from workbench.report.incident.gather import SAMPLE
from workbench.report.markup import Html, Section, code, el, join, section
from workbench.report.verdict import verdict

if TYPE_CHECKING:
    from workbench.report.incident.gather import Incident
    from workbench.store import Run


def origin(found: Incident) -> Section:
    """Return what was read, by which rules, and the line that makes this report again."""
    facts: list[tuple[str, Any]] = [
        ("run", _identity(found.run)),
        ("baseline", _baseline(found)),
        ("window", f"{found.window}: {figures.plural(found.peers.height, 'run')} of this agent"),
        ("read", _read(found)),
        ("store", _store(found)),
        ("made by", f"workbench {__version__}, papermill; no model was called"),
        ("again", code(again(found))),
    ]
    terms = [join(el("dt", name), el("dd", value)) for name, value in facts]
    if found.output is not None:
        write_facts(found, Path(found.output))
    return section("How this was made", el("dl", *terms, class_="wb-prov"))


def is_local(found: Incident) -> bool:
    """Say whether the runs lie in the local stack, whose port is another every time."""
    return not found.store.address or found.store.address.startswith("http://127.0.0.1")


def _store(found: Incident) -> Html:
    return join("the local stack") if is_local(found) else code(found.store.address)


def _identity(run: Run) -> Html:
    qualities = sorted(run.calls["quality"].drop_nulls().unique())
    quality = f"; quality {', '.join(qualities)}" if qualities else ""
    digest = join("log root ", code(f"sha-256 {run.digest[:12]}…{run.digest[-4:]}"), quality)
    return join(
        code(run.run_id), ", ", join(code(run.source), ", ") if run.source else None, digest
    )


def _baseline(found: Incident) -> Html:
    if found.baseline is None:
        return join("none: ", found.baseline_reason)
    return join(_identity(found.baseline), "; ", found.baseline_reason)


def _read(found: Incident) -> str:
    others = found.neighbours["run_id"].n_unique()
    rows = figures.plural(found.run.events.height, "event")
    return (
        f"{rows} of this run; of the others all rows, and the calls of {others} (the nearest, at"
        f" most {SAMPLE})"
    )


def again(found: Incident) -> str:
    """Return the command that makes this report again."""
    parts = ["workbench", "report", "notebooks/reports/incident.ipynb"]
    parts += ["-p", f"run={found.run.source or found.run.run_id}"]
    if found.baseline is not None:
        parts += ["-p", f"baseline={found.baseline.source or found.baseline.run_id}"]
    if not is_local(found):
        parts += ["--store", found.store.address]
    return shlex.join([*parts, "--to", "out"])


def write_facts(found: Incident, folder: Path) -> Path:
    """Write what the report says as ``incident.json``, for programs."""
    from workbench.report.incident.headline import sentence

    document = {
        "headline": sentence(found),
        "run_id": found.run.run_id,
        "baseline": None if found.baseline is None else found.baseline.run_id,
        "baseline_reason": found.baseline_reason,
        "reasons": list(verdict(found.run.info).reasons),
        "failing_seqs": found.run.calls.filter(status="error")["seq"].to_list(),
        "runs": found.peers.height,
        "bad_runs": int(found.peers["bad"].sum()),
        "log_root": found.run.digest,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "incident.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
