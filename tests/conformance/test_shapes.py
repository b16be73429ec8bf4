"""Every program of the capture suite once more, as a replay with everything in the world poisoned.

The table is in shapes.py (C10, every client path, is its group ``path``). Each is replayed guarded
and isolated: identical, every call consumed, none made. What no exact replay can repeat is
refused, and says why.

``WORKBENCH_REPEAT`` and ``WORKBENCH_REPEAT_ISOLATED`` say how often each is recorded and replayed
where order matters. A child costs a second: where the latter is not set, the agents of plain
Python that lie in one group are isolated as one program that goes through all of them, and one row
is of each refusal.
"""

import inspect
import os
import sys
import warnings
from multiprocessing import forkserver

import ended_agents
import lane_agents
import order_agents
import pytest
from shapes import SHAPES, TOGETHER
from strengths import isolated

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning

TIMES = {
    "guarded": int(os.environ.get("WORKBENCH_REPEAT") or 2),
    "isolated": int(os.environ.get("WORKBENCH_REPEAT_ISOLATED") or 1),
}

ORDERLY = ("function: ", "around: ", "value: ", "path: ")
"""Groups whose programs do one thing after the other: once is enough."""
ALONE = "WORKBENCH_REPEAT_ISOLATED" in os.environ


def each(*, refused):
    """Return (name, entry, strength) of each row: all its entries guarded, the last isolated."""
    rows = [(name, shape) for name, shape in SHAPES.items() if bool(shape.refused) is refused]
    guarded = [(name, entry, "guarded") for name, shape in rows for entry in shape.entries]
    alone = (refused_otherwise if refused else not_in_a_group)(rows)
    in_child = [(name, shape.entries[-1], "isolated") for name, shape in (rows if ALONE else alone)]
    return [
        pytest.param(
            *row, id="-".join(filter(None, row)), marks=isolated if row in in_child else ()
        )
        for row in guarded + in_child
    ]


def not_in_a_group(rows):
    """Return the rows that are in no program of a whole group, and these programs."""
    whole = [*TOGETHER.values()]
    return [(n, s) for n, s in rows if n.partition(":")[0] not in TOGETHER or s in whole]


def refused_otherwise(rows):
    """Return a row for each thing that is said."""
    return [*{shape.refused: (name, shape) for name, shape in rows}.values()]


@pytest.fixture
def a_store(request, folders, tmp_path, monkeypatch):
    """Give the store of a row: folders, or a live server that several processes write to."""

    def give(shape):
        if not shape.server:
            return folders
        monkeypatch.setenv("WORKBENCH_API_KEY", request.getfixturevalue("server").api_key)
        monkeypatch.setenv("WORKBENCH_SPOOL", str(tmp_path / "spool"))
        return request.getfixturevalue("store")

    yield give
    # a server of forks lives on with the environment of this test
    forkserver._forkserver._stop()


def replay(run, shape, strength):
    return wb.replay(run, shape.agent, isolate=strength == "isolated", **shape.options)


def nameless(form):
    """Return a stored output without the ids of messages and interrupts: each run has others."""
    if isinstance(form, dict):
        kept = {key: nameless(value) for key, value in form.items()}
        return {**kept, "id": None} if {"body", "response_schema"} & {*kept} else kept
    return [nameless(value) for value in form] if isinstance(form, list) else form


def differences(result, run, strength):
    """Return in what a replay is not the recording once more."""
    counts = result.certificate["calls"]
    told = {
        "divergences": (result.divergences, []),
        "identical": (result.identical, True),
        "status": (result.run.status, run.status),
        "output": (nameless(result.run.output), nameless(run.output)),
        "content root": (result.run.content_root, run.content_root),
        "levels": ({*result.matches["match_level"]} | {"exact"}, {"exact"}),
        "asked": (counts["asked"], run.calls.height),
        "consumed": (counts["consumed"], run.calls.height),
        "strength": (result.certificate["strength"], strength),
        "lost": (result.lost, []),
    }
    if run.output is None:  # a block that was streamed by hand has none
        del told["output"]
    return {what: pair for what, pair in told.items() if pair[0] != pair[1]}


@pytest.mark.parametrize(("name", "entry", "strength"), each(refused=False))
def test_each_is_replayed_with_nothing_called(folders, poison, name, entry, strength):
    shape = SHAPES[name]
    times = 1 if name.startswith(ORDERLY) else TIMES[strength]
    runs = [run for _ in range(times) for run in shape.recorded(folders, entry)]
    poison()
    for run in runs:
        result = replay(run, shape, strength)
        assert differences(result, run, strength) == {}
        assert poison.bitten() == []


@pytest.mark.parametrize(("name", "entry", "strength"), each(refused=True))
def test_what_cannot_be_repeated_is_refused_and_says_why(a_store, poison, name, entry, strength):
    shape = SHAPES[name]
    store = a_store(shape)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RecordingWarning)
        [run] = shape.recorded(store, entry)
    assert shape.warns is None or any(shape.warns in str(one.message) for one in said)
    poison()
    with pytest.raises(errors.WorkbenchError) as refused:
        replay(run, shape, strength)
    assert type(refused.value) in (errors.RecordingIncomplete, errors.NotReplayable)
    assert shape.refused in str(refused.value)
    assert poison.bitten() == []


@pytest.mark.parametrize("module", [lane_agents, order_agents, ended_agents])
def test_no_agent_is_missing_in_the_table(module):
    agents = {
        f"{module.__name__}:{name}"
        for name, found in vars(module).items()
        if inspect.isfunction(found)
        and found.__module__ == module.__name__
        and [*inspect.signature(found).parameters] == ["_"]
    }
    if sys.version_info < (3, 12):
        agents.discard("lane_agents:eager")
    assert agents - {shape.agent for shape in SHAPES.values()} == set()


# ---- the same replays, with nothing answered

BITING = {
    "lanes: gathered": "guarded",
    "lanes: mapped": "isolated",
    "path: generator": "guarded",
    "graph: create_agent": "isolated",
    "graph: streaming": "guarded",
    "human: a block": "isolated",
    "around: shims": "isolated",
}


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        *((name, "guarded") for name in BITING),
        *(
            pytest.param(name, strength, marks=isolated)
            for name, strength in BITING.items()
            if strength == "isolated"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_with_nothing_answered_the_poison_bites(folders, poison, interception_off, name, strength):
    shape = SHAPES[name]
    runs = shape.recorded(folders, shape.entries[-1])
    poison()
    for run in runs:
        result = replay(run, shape, strength)
        assert poison.bitten() != []
        assert {"identical", "consumed"} <= differences(result, run, strength).keys()
