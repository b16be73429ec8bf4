"""The first screen: what went wrong, in one sentence built from counts and names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import charts
from workbench.report import figures
from workbench.report.export import stylesheet
from workbench.report.incident import evidence
from workbench.report.incident.evidence import failing, failing_by_name, repeated
from workbench.report.markup import Html, Section, code, el, join
from workbench.report.verdict import verdict

if TYPE_CHECKING:
    from workbench.report.incident.gather import Incident


def headline(found: Incident) -> Section:
    """Return kicker, headline and standfirst."""
    title = sentence(found)
    head = el(
        "header",
        el("p", *kicker(found), class_="wb-kick"),
        el("h1", title),
        el("p", standfirst(found), class_="wb-stand"),
        class_="wb-doc wb-head",
    )
    return Section(html=join(el("style", Html(stylesheet())), head), title=title)


def kicker(found: Incident) -> list[Html]:
    """Return what this is, about which agent and when."""
    at = figures.when(found.run.info.get("started_at"))
    name = found.run.info.get("agent") or found.run.name
    said = ["Incident report", name, at or "no time in the source"]
    return [el("span", part) for part in said if part]


def sentence(found: Incident) -> str:
    """Return the finding: the window's where a window was asked for, else the run's."""
    if found.chosen is not None:
        bad = int(found.peers["bad"].sum())
        runs = figures.plural(found.peers.height, "run")
        return f"{bad:,} of {runs} of {found.agent} went wrong"
    return run_sentence(found)


def run_sentence(found: Incident) -> str:
    """Return how the run ended and how many of its calls failed."""
    run, calls = found.run, found.run.calls
    failed, total = failing(calls).height, calls.height
    raised = (run.exception or {}).get("class")
    if raised and run.status == "failed":
        last = _raised_by(calls, raised)
        return f"{found.name} ended with {_leaf(raised)}{last}"
    reasons = " and ".join(verdict(run.info).reasons)
    if failed:
        count = f"{failed} of {figures.plural(total, 'call')} failed{_worst(calls)}"
    else:
        count = f"no error in {figures.plural(total, 'call')}{_but(found)}"
    return f"{found.name}: {'; '.join(part for part in (reasons, count) if part)}"


def _but(found: Incident) -> str:
    """Say what came in differently, where nothing failed."""
    outside = found.outside
    if outside is None:
        return ""
    said = {
        "prompt": "another system prompt than in its baseline",
        "documents": f"{outside.name} retrieved other documents than in its baseline",
        "result": f"{outside.name} gave another answer than in its baseline",
        "error": f"{outside.name} failed",
    }
    return f", but {said[outside.kind]} (#{outside.seq})"


def _leaf(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def _raised_by(calls: pl.DataFrame, raised: str) -> str:
    alike = failing(calls).filter(pl.col("error").str.starts_with(_leaf(raised)))
    if alike.is_empty():
        return f" after {figures.plural(calls.height, 'call')}"
    name, seq = alike.select("name", "seq").row(-1)
    tries = calls.filter(name=name).height
    failed = alike.filter(name=name).height
    return f": {name} raised it in {failed} of {figures.plural(tries, 'call')} (#{seq})"


def _worst(calls: pl.DataFrame) -> str:
    groups = failing_by_name(calls)
    if groups.is_empty():
        return ""
    worst = groups.row(0, named=True)
    if groups.height == 1:
        return f", all of {worst['name']}" if worst["failed"] > 1 else f", {worst['name']}"
    return f", {worst['failed']} of them {worst['name']}"


def standfirst(found: Incident) -> Html:
    """Return the next facts: where it differs first, what it did, how the others went."""
    parts = (tell(found) for tell in (_choice, _difference, _unlike, _again, _around))
    return join(*(part for part in parts if part), by=" ")


def _choice(found: Incident) -> Html | None:
    if found.chosen is None:
        return None
    counted = pl.DataFrame({"bad": [int(found.peers["bad"].sum())], "runs": [found.peers.height]})
    _, _, share, low, high = charts.shares(counted, hits="bad", total="runs").row(0)
    rate = f" (95 % interval {low * 100:.0f} to {high * 100:.0f}). This report follows "
    return join(el("b", figures.percent(share)), rate, el("b", found.name), f": {found.chosen}.")


def _difference(found: Incident) -> Html | None:
    from workbench.report.incident.divergence import first_in_words

    told = found.chosen is None and found.outside is not None
    return None if told and failing(found.run.calls).is_empty() else first_in_words(found)


def _unlike(found: Incident) -> Html | None:
    """Say which calls that reach the world outside the baseline does not make."""
    calls = evidence.unlike(found).filter(pl.col("effect").is_in(evidence.HARM))
    if calls.is_empty():
        return None
    names = calls["name"].unique(maintain_order=True).head(3)
    count = el("b", figures.plural(calls.height, "call"))
    named = join(*(code(name) for name in names), by=", ")
    return join(
        "It made ", count, " with an effect outside that the baseline does not make: ", named, "."
    )


def _again(found: Incident) -> Html | None:
    again = repeated(found.run.calls)
    if again.is_empty():
        return None
    most: dict[str, Any] = again.row(0, named=True)
    return join(code(most["name"]), f" was called {most['times']} times with the same arguments.")


def _around(found: Incident) -> Html | None:
    others = found.peers.filter(pl.col("run_id") != found.run.run_id)
    if others.is_empty() or found.chosen is not None:
        return None
    bad = int(others["bad"].sum())
    return join(
        f"Of the other {others.height:,} runs of {found.agent}, ",
        el("b", f"{bad:,}"),
        " went wrong.",
    )
