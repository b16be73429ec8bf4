"""An isolated replay runs in a process with no network, no credentials, and no way out but a pipe."""

import os
import sys

import pytest
import replay_agents as agents

import workbench as wb
from workbench import errors
from workbench.capture import agents as found_agents
from workbench.replay import isolation

pytestmark = pytest.mark.skipif(not isolation.possible(), reason="no network namespace here")

CURIOUS = """
import os, socket
from replay_agents import ask

def agent(given):
    ask("one")
    interfaces = [name for _, name in socket.if_nameindex()]
    return {"secret": os.environ.get("A_SECRET"), "interfaces": interfaces}

def leaker(given):
    ask("one")
    if given == os.getpid():
        return "at home"
    raise RuntimeError("away")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "a_curious_agent.py").write_text(CURIOUS)
    monkeypatch.syspath_prepend(str(folder))
    yield "a_curious_agent"
    sys.modules.pop("a_curious_agent", None)


def test_an_isolated_replay_is_identical_and_certified_so(folders, world):
    run = wb.record(folders, agents.desk_graph, agents.question())
    world.poisoned = True
    result = wb.replay(run, agents.desk_graph, isolate=True)
    assert result.identical
    assert result.certificate["strength"] == "isolated"
    assert result.run.content_root == run.content_root
    assert set(result.matches["match_level"]) == {"exact"}


def test_the_child_has_no_interface_but_its_own_and_no_secret(folders, world, module, monkeypatch):
    monkeypatch.setenv("A_SECRET", "hush")
    run = wb.record(folders, f"{module}:agent", "x")
    assert run.output["secret"] == "hush"
    result = wb.replay(run, isolate=True)
    assert result.output == {"secret": None, "interfaces": ["lo"]}
    assert [found.kind for found in result.divergences] == ["outcome_mismatch"]


def test_what_differs_in_the_child_comes_home_as_a_divergence(folders, world, module):
    run = wb.record(folders, f"{module}:leaker", os.getpid())
    result = wb.replay(run, isolate=True)
    assert [found.kind for found in result.divergences] == ["exception_mismatch"]
    assert result.run.status == "diverged"


def test_a_fork_is_isolated_too(folders, world):
    run = wb.record(folders, agents.polling, "x")
    result = wb.fork(
        run, at=run.calls["seq"][1], edits={"outcome": "edited"}, agent=agents.polling, isolate=True
    ).run()
    assert result.output == [run.output[0], "edited", run.output[2]]
    with pytest.raises(errors.UsageError, match="nothing live"):
        wb.fork(run, at=run.calls["seq"][1], agent=agents.polling, rest="live", isolate=True)


def test_an_agent_that_no_other_process_can_import_is_refused(folders, world):
    def local(_):
        return agents.ask("one")

    run = wb.record(folders, local, "x")
    with pytest.raises(errors.NotReplayable, match="process of its own"):
        wb.replay(run, local, isolate=True)
    copy = found_agents.Agent(target=agents.desk(), entry_point="replay_agents:desk_graph")
    with pytest.raises(errors.NotReplayable, match="another object"):
        isolation.require(copy)


def test_where_no_namespace_can_be_made_isolation_is_refused_never_weakened(
    folders, world, monkeypatch
):
    run = wb.record(folders, agents.polling, "x")
    monkeypatch.setattr(isolation, "possible", lambda: False)
    runs = len(folders.runs())
    with pytest.raises(errors.NotReplayable, match="no empty network namespace"):
        wb.replay(run, agents.polling, isolate=True)
    assert len(folders.runs()) == runs
