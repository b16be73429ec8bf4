"""What to do next: ranked, each with a reason computed from the data and a line to paste."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.report import figures
from workbench.report.incident import evidence
from workbench.report.incident.divergence import Change, capital, first_change
from workbench.report.incident.origin import again, is_local
from workbench.report.incident.story import usual
from workbench.report.markup import Html, Section, code, el, join, section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workbench.report.incident.gather import Incident
    from workbench.report.incident.outside import Outside
    from workbench.store import Run

_MOST, _SHORT = 5, 400
_CHANGED = {
    "error": 96,
    "documents": 92,
    "result": 90,
    "tool_output": 90,
    "prompt": 90,
    "system_text": 85,
    "user_text": 15,
    "user_action": 15,
}
"""How telling a first difference is: most where no model chose it, least where users differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to look at; a higher ``weight`` comes first."""

    weight: float
    what: Html
    why: Html
    line: str


def actions(found: Incident) -> Section:
    """Return at most five things to do, the most telling first."""
    ranked = sorted(_actions(found), key=lambda action: -action.weight)[:_MOST]
    if not ranked:
        nothing = "Nothing failed, was repeated, took long or differs from the baseline."
        return section("What to do next", el("p", nothing))
    items = [
        el(
            "li",
            el(
                "div",
                a.what,
                " ",
                el("span", a.why, class_="why"),
                el("code", a.line, class_="line"),
            ),
        )
        for a in ranked
    ]
    return section("What to do next", el("ol", *items, class_="wb-todo"))


def _actions(found: Incident) -> Iterator[Action]:
    yield from _changed(found)
    yield from _tested(found)
    yield from _failed(found)
    yield from _documents(found)
    yield from _unlike(found)
    yield from _repeated(found)
    yield from _slow(found)
    yield from _compare(found)


def opened(found: Incident) -> str:
    """Return the call that opens this store, as it would be typed."""
    return "wb.open()" if is_local(found) else f'wb.open("{found.store.address}")'


def run_line(found: Incident) -> str:
    """Return the expression that reads the run in question."""
    return f'run = {opened(found)}.run("{found.run.source or found.run.run_id}")'


def _changed(found: Incident) -> Iterator[Action]:
    change = first_change(found)
    if change is None or found.baseline is None:
        return
    yield Action(
        weight=_CHANGED.get(change.kind, 60),
        what=join("Look at ", change.what, "."),
        why=join(
            capital(change.why), ".", _documents_went(found, change), _failed_too(found, change)
        ),
        line=_diff_line(found) if change.seq is None else _both_line(found, change.seq),
    )


def _tested(found: Incident) -> Iterator[Action]:
    """Propose the experiment: this run again, with what the baseline was given at that call."""
    outside, agent = found.outside, entry_point(found.run)
    outcome = None if outside is None else _baseline_outcome(outside)
    if outside is None or outcome is None or agent is None or found.baseline is None:
        return
    imports = "import json\n" if "json." in outcome else ""
    line = (
        f"{imports}{_two_runs(found)}\n"
        f'wb.fork(run, at={outside.seq}, edits={{"outcome": {outcome}}},'
        f' agent="{agent}", rest="live").plan()'
    )
    yield Action(
        weight=_CHANGED[outside.kind] - 1,
        what=join("Test whether that is the cause: fork with the baseline's answer."),
        why=join(f"Everything before #{outside.seq} is reused; the plan says what would run live."),
        line=line,
    )


def _baseline_outcome(outside: Outside) -> str | None:
    call = f"good.calls.filter(seq={outside.seq_a})"
    if outside.kind == "documents":
        return f'json.loads({call}["outcome"][0])["documents"]'
    if outside.kind in ("result", "error") and len(outside.a) <= _SHORT:
        return repr(outside.a)
    return None


def entry_point(run: Run) -> str | None:
    """Return the agent that can be called again, as ``module:attribute``."""
    started = run.events.filter(event_type="run_started")["payload"]
    return json.loads(started[0]).get("entry_point") if len(started) else None


def _two_runs(found: Incident) -> str:
    good = found.baseline or found.run
    a, b = (run.source or run.run_id for run in (good, found.run))
    return f'store = {opened(found)}\nrun, good = store.run("{b}"), store.run("{a}")'


def _documents_went(found: Incident, change: Change) -> Html | None:
    """Add how the runs went that retrieved what this one did and the baseline did not."""
    moved = evidence.moved_documents(found) if change.kind == "documents" else []
    if not moved or not moved[0].gained:
        return None
    return join(" New is this text of ", code(moved[0].key), f": {_went(moved[0])}.")


def _failed_too(found: Incident, change: Change) -> Html | None:
    """Add how often the call failed, here and in other runs."""
    if change.kind != "error":
        return None
    groups = evidence.failing_by_name(found.run.calls).filter(name=change.name)
    if groups.is_empty():
        return None
    return join(" ", _counted(found, groups.row(0, named=True)))


def _both_line(found: Incident, seq: int) -> str:
    return f"{run_line(found)}\nrun.calls.filter(seq={seq})"


def _diff_line(found: Incident) -> str:
    return f"{_two_runs(found)}\nwb.diff(good, run)"


def _failed(found: Incident) -> Iterator[Action]:
    groups = evidence.failing_by_name(found.run.calls).iter_rows(named=True)
    change, ended = first_change(found), found.run.status == "failed"
    for rank, row in enumerate(groups):
        if change is not None and change.kind == "error" and change.name == row["name"]:
            continue
        yield Action(
            weight=(95 if ended else 70) - rank,
            what=join("Find out why ", code(row["name"]), " failed."),
            why=_counted(found, row),
            line=f'{run_line(found)}\nrun.calls.filter(name="{row["name"]}", status="error")',
        )


def _counted(found: Incident, row: dict[str, Any]) -> Html:
    return join(
        f"{row['failed']} of {figures.plural(row['calls'], 'call')} ended in “",
        figures.clipped(row["error"] or "an error without words", 120),
        f"”; {_elsewhere(found, row)}.",
    )


def _elsewhere(found: Incident, row: dict[str, Any]) -> str:
    same = found.neighbours.filter(name=row["name"], kind=row["kind"])
    if same.is_empty():
        return "no other run read here calls it"
    bad = same.filter(status="error").height
    return f"elsewhere {figures.of(bad, same.height)} such calls failed"


def _in(seqs: Iterable[int]) -> str:
    return f"run.calls['seq'].is_in({list(seqs)[:6]})"


def _unlike(found: Incident) -> Iterator[Action]:
    calls = evidence.unlike(found)
    if calls.is_empty():
        return
    names = calls["name"].unique(maintain_order=True).to_list()
    harm = calls.filter(pl.col("effect").is_in(evidence.HARM)).height
    said = f"; {harm} of them by a tool that changes something outside" if harm else ""
    seqs = ", ".join(f"#{seq}" for seq in calls["seq"].head(6))
    count = "these calls" if calls.height > 1 else "this call"
    yield Action(
        weight=80 if harm else 55,
        what=join("Check what ", join(*map(code, names[:3]), by=", "), " did."),
        why=join(f"The baseline does not make {count} ({seqs}){said}."),
        line=f"{run_line(found)}\nrun.calls.filter({_in(calls['seq'])})",
    )


def _documents(found: Incident) -> Iterator[Action]:
    change = first_change(found)
    if change is not None and change.kind == "documents":
        return
    for rank, moved in enumerate(evidence.moved_documents(found)[:2]):
        verb = "retrieved here, not in the baseline" if moved.gained else "retrieved only there"
        yield Action(
            weight=(65 if moved.bad and moved.gained else 45) - rank,
            what=join("Read the document ", code(moved.key), "."),
            why=join(f"It was {verb} (#{moved.seq}); {_went(moved)}."),
            line=f'{run_line(found)}\nrun.calls.filter(kind="retriever")["outcome"]',
        )


def _went(moved: evidence.Document) -> str:
    if not moved.runs:
        return "no other run read here got it"
    with_it = f"{figures.of(moved.bad, moved.runs)} other runs with it went wrong"
    return f"{with_it}, and {figures.of(moved.bad_without, moved.runs_without)} without"


def _repeated(found: Incident) -> Iterator[Action]:
    for row in evidence.repeated(found.run.calls).head(1).iter_rows(named=True):
        answers = row["answers"]
        said = "always the same answer" if answers < 2 else f"{answers} different answers"  # noqa: PLR2004
        yield Action(
            weight=50 if row["failed"] or answers < 2 else 35,  # noqa: PLR2004 - one answer again and again
            what=join("See why ", code(row["name"]), " was asked again and again."),
            why=join(
                f"{row['times']} calls with the same arguments, {said}, {row['failed']} failed."
            ),
            line=f"{run_line(found)}\nrun.calls.filter({_in(row['seqs'])})",
        )


def _slow(found: Incident) -> Iterator[Action]:
    for row in evidence.slow(found.run.calls, found.neighbours).head(1).iter_rows(named=True):
        yield Action(
            weight=40,
            what=join(
                "See why ", code(row["name"]), f" took {figures.duration(row['duration_ms'])}."
            ),
            why=join(usual(row)),
            line=f"{run_line(found)}\nrun.calls.filter(seq={row['seq']})",
        )


def _compare(found: Incident) -> Iterator[Action]:
    if found.baseline is None:
        yield Action(
            weight=20,
            what=join("Name a run to compare with."),
            why=join(found.baseline_reason, "."),
            line=f"{again(found)} -p baseline=RUN",
        )
        return
    yield Action(
        weight=10,
        what=join("Compare the two runs call by call."),
        why=join("The baseline is ", found.baseline_reason, "."),
        line=_diff_line(found),
    )
