"""The first difference of every pair that another program computed, and of every run with itself."""

from functools import cache

import pytest
from realdata import FOLDER, expected, needs_realdata, recorded

from workbench.diff import diff

pytestmark = needs_realdata


def _kind(cause):
    return cause.replace("-", "_")


def _action(said):
    if said is None:
        return None
    names = {"step_a": "message_a", "step_b": "message_b"}
    return {names.get(name, name): value for name, value in said.items()}


def _check(pairs):
    """Compare (expected, a, b) and return what differs."""
    checked = 0
    for row, a, b in pairs:
        found = diff(a, b)
        checked += 1
        first = {"message_a": row["first_strict"], "message_b": row["first_strict"]}
        wanted = (first | {"kind": _kind(row["cause"])}, _action(row["first_action"]))
        action = found.first_action
        assert wanted == (
            found.first_divergence.as_dict(),
            None if action is None else action.as_dict(),
        ), row.get("pair") or row.get("run")
        if "len_a" in row:
            assert (row["len_a"], row["len_b"]) == (len(found.a.rows), len(found.b.rows))
    return checked


@cache
def _dojo(path):
    [run] = recorded("agentdojo", FOLDER / "agentdojo/runs" / path).values()
    return run


def test_two_models_on_the_same_tasks():
    pairs = expected("divergence_agentdojo_4o_vs_4omini.json")

    assert _check(
        (
            row,
            _dojo(f"gpt-4o-2024-05-13/{row['pair']}"),
            _dojo(f"gpt-4o-mini-2024-07-18/{row['pair']}"),
        )
        for row in pairs
    ) == len(pairs)


def test_every_attacked_run_against_its_clean_one():
    pairs = expected("injection_agentdojo.json")

    def clean(path):
        return "/".join([*path.split("/")[:3], "none", "none.json"])

    assert _check((row, _dojo(clean(row["run"])), _dojo(row["run"])) for row in pairs) == 747


def test_every_two_trials_of_the_airline_desk():
    runs = recorded("tau-bench", FOLDER / "tau-bench/gpt-4o-airline.json")
    pairs = expected("divergence_taubench_airline.json")

    def trial(task, number):
        return runs[f"task={task},trial={number}"]

    words = [row["pair"].split() for row in pairs]  # task T trial I vs J
    assert _check(
        (row, trial(said[1], said[3]), trial(said[1], said[5]))
        for row, said in zip(pairs, words, strict=True)
    ) == len(pairs)


def _tau2(part):
    [path] = FOLDER.glob(f"tau2/*{part}*")
    runs = recorded("tau2", path).values()
    return {(run.labels["task"], run.labels["trial"]): run for run in runs}


def test_a_model_and_its_fine_tune_at_the_retail_desk():
    plain, tuned = _tau2("results__gpt-4.1_retail"), _tau2("results__ft-")
    pairs = expected("divergence_tau2_retail.json")

    tasks = [row["pair"].removeprefix("task ") for row in pairs]
    assert _check(
        (row, plain[task, 0], tuned[task, 0]) for row, task in zip(pairs, tasks, strict=True)
    ) == len(pairs)


def test_every_two_trials_of_the_telecom_desk():
    runs = _tau2("test_run_1")
    pairs = expected("divergence_tau2_telecom_4trials.json")

    def both(pair):
        task, _, trials = pair.removeprefix("task ").rpartition(" trial ")
        return [runs[task, int(trial)] for trial in trials.split(" vs ")]

    assert _check((row, *both(row["pair"])) for row in pairs) == len(pairs)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("agentdojo", "agentdojo/runs/gpt-4o-2024-05-13/slack/user_task_13/none/none.json"),
        ("tau-bench", "tau-bench/gpt-4o-airline.json"),
        ("tau2", "tau2/model_training__results__gpt-4.1_retail_defautl_gpt-4.1_1trials.json"),
    ],
)
def test_a_run_and_itself_have_no_difference(name, path):
    for run in list(recorded(name, FOLDER / path).values())[:50]:
        found = diff(run, run)

        assert found.first_divergence.as_dict() == {
            "message_a": None,
            "message_b": None,
            "kind": "equal",
        }
        assert found.first_action is None
        assert found.deltas.height == 0
        assert found.aligned["equal"].all()
        assert not found.differs


def test_every_call_of_either_run_stands_in_exactly_one_row():
    plain, tuned = _tau2("results__gpt-4.1_retail"), _tau2("results__ft-")

    for key in plain:
        found = diff(plain[key], tuned[key])

        for side, seqs in ((found.a, "seq_a"), (found.b, "seq_b")):
            assert sorted(found.aligned[seqs].drop_nulls()) == [call.seq for call in side.calls]
