"""All recorded data of others, through the live server, against figures computed elsewhere."""

import math

import pytest
from realdata import FOLDER, expected, needs_realdata

from workbench.diff import diff
from workbench.importers import import_paths
from workbench.store import connect

pytestmark = [needs_realdata, pytest.mark.slow]

_ALL = {
    "agentdojo": FOLDER / "agentdojo/runs",
    "tau-bench": FOLDER / "tau-bench/gpt-4o-airline.json",
    "tau2": FOLDER / "tau2",
}
_COUNTED = ("runs", "messages", "tool_calls", "tool_errors", "unknown_cost_runs")


def _import_all(store):
    return {name: import_paths(store, name, [path]) for name, path in _ALL.items()}


def _wanted() -> dict[str, dict]:
    tau2 = expected("totals_tau2.jsonl")
    return {
        "agentdojo": next(r for r in expected("totals_agentdojo.jsonl") if r["file"] == "runs"),
        "tau-bench": expected("totals_taubench.jsonl")[0] | {"tool_errors": None},
        "tau2": {name: sum(row.get(name, 0) for row in tau2) for name in _COUNTED},
    }


def test_all_recorded_data_goes_in_once_exactly_and_into_two_workspaces_alike(server, store):
    first = _import_all(store)
    for name, row in _wanted().items():
        found = first[name].as_dict()
        assert {c: found[c] for c in _COUNTED} == {c: row[c] for c in _COUNTED}, name
        assert (found["stored"], found["changed"], found["skipped"]) == (row["runs"], 0, [])

    again = _import_all(store)
    assert [s.stored for s in again.values()] == [0, 0, 0]
    assert [s.runs for s in again.values()] == [s.runs for s in first.values()]

    other = server.make_workspace(f"other-{server.workspace.name}")
    with connect(server.url, other.api_key) as second:
        assert [s.stored for s in _import_all(second).values()] == [900, 200, 100]
        assert second.runs().height == store.runs().height == 1200
        assert not set(second.runs()["run_id"]) & set(store.runs()["run_id"])
        assert set(second.runs()["source"]) == set(store.runs()["source"])

    _rows_agree_with_the_source(store.runs())
    _diff_through_the_server(store)


def _rows_agree_with_the_source(runs):
    sources = runs["source"]
    for prefix, rows in (("agentdojo", "totals_agentdojo"), ("tau2", "totals_tau2")):
        for row in expected(f"{rows}.jsonl"):
            if row["file"] == "runs":
                continue
            mine = runs.filter(sources.str.starts_with(f"{prefix}:{row['file']}"))
            assert mine.height == row.get("runs", 0)
            took = math.fsum(mine["duration_ms"]) / 1000
            assert took == pytest.approx(row["duration_s"], abs=1e-9)
            assert mine["unknown_cost_parts"].gt(0).sum() == row.get("unknown_cost_runs", 0)
            cost = math.fsum(mine["cost_known_usd"])
            assert cost == pytest.approx(row.get("cost_usd", 0), abs=1e-9)
            assert mine["tool_calls"].sum() == row.get("tool_calls", 0)
            assert mine["tool_errors"].sum() == row.get("tool_errors", 0)
            assert mine["input_tokens"].sum() == row.get("prompt_tokens", 0)
    assert runs["status"].unique().to_list() == ["done"]
    assert runs["health"].unique().to_list() == ["ok"]


def _diff_through_the_server(store):
    a = store.run("agentdojo:gpt-4o-2024-05-13/banking/user_task_0/none/none.json")
    b = store.run("tau-bench:gpt-4o-airline.json#task=0,trial=1")
    clean = diff(a, a)
    assert (clean.first_divergence.kind, clean.first_action, clean.deltas.height) == (
        "equal",
        None,
        0,
    )
    assert diff(a, b).first_divergence.kind == "system_text"
    assert a.messages["index"].to_list() == list(range(7))
    assert a.messages["role"].to_list() == [
        "system",
        "user",
        *("assistant", "tool", "assistant", "tool", "assistant"),
    ]
    assert a.messages["tool"][3] == "read_file"
    assert a.calls["kind"].to_list() == ["human", "model", "tool", "model", "tool", "model"]
