"""``replay`` and ``fork``: run an agent again on its recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli.options import AsJson, Target, Workspace, import_from_here, opened, opened_run
from workbench.cli.output import emit, note
from workbench.errors import UsageError
from workbench.replay.policy import OnMiss, Order
from workbench.schema import Mode

if TYPE_CHECKING:
    from workbench.replay import ReplayResult
    from workbench.replay.simulate import Simulator

_Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or source.")]
_Agent = Annotated[
    str | None,
    typer.Option("--agent", help="MODULE:ATTRIBUTE (default: the one the run names)."),
]
_Pairs = Annotated[
    list[str] | None,
    typer.Option("--effect", help="TOOL=read|write|approved|…, as often as needed."),
]


def replay(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id or source, or a bundle's file.")
    ],
    *,
    agent: _Agent = None,
    mode: Annotated[Mode, typer.Option(help="By what calls are answered.")] = "exact",
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override",
            help="kind:KIND=MODE, tool:NAME=MODE or lane:LANE=MODE, as often as needed.",
        ),
    ] = None,
    on_miss: Annotated[
        OnMiss, typer.Option("--on-miss", help="What follows a call that nothing answers.")
    ] = "fail",
    effect: _Pairs = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", help="calls=N, usd=N or seconds=N: bounds of live calls."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", help="FILE.json: rules that answer simulated calls."),
    ] = None,
    normalise: Annotated[
        list[str] | None,
        typer.Option(
            "--normalise", help="NAME=/JSON/POINTER: what may differ in a cached replay, by call."
        ),
    ] = None,
    order: Annotated[
        Order, typer.Option(help="In which order parallel calls are answered.")
    ] = "declared",
    collect: Annotated[
        bool, typer.Option("--collect", help="Go on after a difference and report all.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="FILE.json: write the certificate there.")
    ] = None,
    isolate: Annotated[
        bool | None,
        typer.Option(
            help="In a child process without any network (default: where possible, and nothing is "
            "live)."
        ),
    ] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="By a worker; --agent is a registered name.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="With --on-server: the same KEY finds the same replay.")
    ] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Run an agent's real code again with every call answered from the recording.

    Exits with 1 when the replay is not identical.

    Example:

        workbench replay 0198f0c2 --agent workbench.examples.support_desk:agent

        workbench replay 0198f0c2 --mode cached --override tool:search=live --budget calls=5
    """
    from workbench.replay import replay as replayed

    import_from_here()
    overrides: Any = dict(_pair(text, "an override is KEY=MODE") for text in override or [])
    live = "live" in (mode, on_miss, *overrides.values())
    with opened_run(run, store, workspace=workspace) as found:
        where: dict[str, Any] = (
            {"on": "server", "key": key}
            if on_server
            else {"isolate": _isolation(isolate, live=live)}
        )
        result = replayed(
            found,
            agent,
            mode=mode,
            overrides=overrides,
            on_miss=on_miss,
            effects=dict(_pair(text) for text in effect or []),
            budget=dict(_bound(text) for text in budget or []),
            simulate=None if rules is None else _simulator(rules),
            normalise=_pointers(normalise or []),
            order=order,
            collect=collect,
            **where,
        )
        if certificate is not None:
            result.save(certificate)
        _answer(result, as_json=as_json)
    if not result.identical:
        raise typer.Exit(1)


def fork(
    run: _Run,
    *,
    at: Annotated[int, typer.Option("--at", help="The seq of the call to change.")],
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="TEXT, or @FILE.json: what it gives back.")
    ] = None,
    agent: _Agent = None,
    rest: Annotated[Literal["cached", "live"], typer.Option(help="What follows.")] = "cached",
    on_miss: Annotated[Literal["fail", "live"], typer.Option(help="At a miss.")] = "fail",
    effect: _Pairs = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done.")] = False,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Change one recorded outcome and run the rest.

    Exits with 1 when the fork ended at a miss or a refused tool.

    Example:

        workbench fork 0198f0c2 --at 17 --outcome "out of stock" --rest live
    """
    from workbench.fork import fork as forked

    import_from_here()
    edits = {} if outcome is None else {"outcome": _outcome(outcome)}
    with opened(store, workspace=workspace) as there:
        prepared = forked(
            there.run(run),
            at=at,
            edits=edits,
            agent=agent,
            rest=rest,
            on_miss=on_miss,
            effects=dict(_pair(text) for text in effect or []),
        )
        if plan:
            shown = prepared.plan()
            rows = {"calls": shown.calls.to_dicts(), "undeclared": list(shown.undeclared)}
            emit(rows, as_json=as_json, text=str(shown))
            return
        result = prepared.run()
        _answer(result, as_json=as_json)
    if result.run.status == "diverged":
        raise typer.Exit(1)


def _answer(result: ReplayResult, *, as_json: bool) -> None:
    note(f"new run {result.run.run_id} {result.run.status}")
    document: dict[str, Any] = {
        "run_id": result.run.run_id,
        "status": result.run.status,
        "identical": result.identical,
        "divergences": [found.as_dict() for found in result.divergences],
        "match_levels": result.certificate["match_levels"],
        "calls": result.certificate["calls"],
        "certificate": result.certificate,
        "lost": result.lost,
    }
    shown = [str(result), *(str(found) for found in result.divergences[1:])]
    emit(document, as_json=as_json, text="\n".join(shown))


def _isolation(wanted: bool | None, *, live: bool) -> bool:  # noqa: FBT001 - as the option gives it
    from workbench.replay import isolation

    if wanted is None and live:
        note("something in it may be live: the replay is guarded, not isolated")
        return False
    if wanted is None and not isolation.possible():
        note("no network namespace can be made here: the replay is guarded, not isolated")
    return isolation.possible() if wanted is None else wanted


def _outcome(text: str) -> Any:
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("the outcome cannot be read", where=str(path), found=str(error)) from error


def _pair(text: str, form: str = "an effect is TOOL=EFFECT") -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise UsageError(form, found=repr(text))
    return name, value


def _simulator(rules: Path) -> Simulator:
    from workbench.replay import rules as known
    from workbench.replay.simulate import Simulator

    return Simulator(rules=known.read(rules))


def _pointers(given: list[str]) -> dict[str, list[str]] | None:
    found: dict[str, list[str]] = {}
    for text in given:
        name, pointer = _pair(text, "what may differ is NAME=/JSON/POINTER")
        found.setdefault(name, []).append(pointer)
    return found or None


def _bound(text: str) -> tuple[str, float]:
    name, bound = _pair(text, "a budget is NAME=NUMBER")
    try:
        return name, int(bound) if name == "calls" else float(bound)
    except ValueError as error:
        raise UsageError(f"the budget of {name} is no number", found=repr(bound)) from error
