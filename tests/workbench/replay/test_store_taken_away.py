"""A store that is taken away while a replay looks something up in it: no error of the agent's.

The replay ends, and what the store said is raised where the replay was asked for.
"""

import shutil

import msgspec
import pytest
import replay_agents as agents
from shelf import Shelf

import workbench as wb
from workbench.errors import MalformedFile, Unavailable, WorkbenchError
from workbench.replay.kin import Kin
from workbench.store import connect, export

LOOKS_UP = {"simulated": {"mode": "simulated"}, "kin": {"mode": "cached", "on_miss": "error"}}


@wb.tool(effect="read")
def look(what):
    return {"what": what, "answer": agents.world.live("look")}


class World:
    """What takes the store away, and what the agent was raised then."""

    take_away = None
    caught = ()


def desk(_):
    """Look something up, have the store taken away, and go on whatever is raised."""
    agents.ask("first")
    if World.take_away is None:
        return
    World.take_away()
    for what in ("never asked", "nor this"):
        try:
            look(what)
        except Exception as error:  # noqa: BLE001 - it goes on whatever is raised
            World.caught.append(error)


@pytest.fixture
def folder(folders, world, tmp_path):
    """Record into a folder of several runs, and give one with what takes the folder away."""

    def record():
        runs = [wb.record(folders, desk, None) for _ in range(2)]
        place = export.export(runs, tmp_path / "both")
        return wb.open(str(place)).run(runs[0].run_id), lambda: shutil.rmtree(place)

    return record, MalformedFile


@pytest.fixture
def server(own_server, world):
    """Record into a server, and give a run with what takes the server away."""
    with connect(own_server.url, own_server.api_key) as store:

        def record():
            runs = [wb.record(store, desk, None) for _ in range(2)]
            return runs[0], own_server.process.kill

        yield record, Unavailable


@pytest.mark.parametrize("looks_up", LOOKS_UP)
@pytest.mark.parametrize("kind", ["folder", "server"])
def test_a_store_that_is_taken_away_ends_the_replay_and_is_raised_there(
    request, monkeypatch, kind, looks_up
):
    record, unreadable = request.getfixturevalue(kind)
    run, take_away = record()
    monkeypatch.setattr(World, "take_away", take_away)
    monkeypatch.setattr(World, "caught", [])
    calls, shelf = agents.world.calls, Shelf()
    with pytest.raises(unreadable) as raised:
        wb.replay(run, desk, into=shelf, **LOOKS_UP[looks_up])
    assert raised.value.where
    assert World.caught == []
    assert agents.world.calls == calls, "nothing was called instead"
    assert shelf.runs()["status"].to_list() == ["cancelled"]


def test_a_parent_that_cannot_be_read_is_not_the_same_as_none(folders, world):
    source = wb.record(folders, desk, None)
    child = wb.replay(source, desk).run
    assert child.info["parent_run_id"] == source.run_id
    kin = Kin(child)
    shutil.rmtree(folders._folders[source.run_id])
    with pytest.raises(WorkbenchError):
        kin.first("no such signature", "read")


def test_a_parent_of_another_store_is_passed_over(folders, world):
    source = wb.record(folders, desk, None)
    child = wb.replay(source, desk).run
    shelf = Shelf()
    alone = shelf.forged(child, child.event_log())
    shelf._sinks[alone.run_id].header = msgspec.structs.replace(
        shelf._sinks[alone.run_id].header, parent_run_id=source.run_id
    )
    assert Kin(shelf.run(alone.run_id)).first("no such signature", "read") is None
