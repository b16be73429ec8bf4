"""What a simulated replay finds in a store: really recorded calls, of all its runs and no others."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import replay_agents as agents
from langchain_core.messages import HumanMessage, SystemMessage

import workbench as wb
from workbench import recording, sharing
from workbench.replay import recorded
from workbench.replay.lake import lake_of
from workbench.replay.simulate import Simulator
from workbench.store import connect, export
from workbench.store.folder import FolderStore


@wb.call(name='it\'s a "tool"; drop')
def oddly_named(what):
    return agents.world.live(what)


@pytest.fixture
def together(tmp_path):
    """Write runs into one folder, and open it."""
    numbers = iter(range(100))

    def write(*runs):
        return wb.open(str(export.export(runs, tmp_path / f"lake-{next(numbers)}")))

    return write


def outcomes(found):
    return [one.outcome["value"]["answer"] for one in found]


def test_the_example_runs_are_read_as_a_replay_reads_them():
    """Every request a model got is whole, and with every message that it or its answer names."""
    store = wb.open("datasets")
    newest = store.runs()["run_id"].to_list()[:3]
    found = lake_of(store, most=1000)("model", "larkfield-offline-1")
    for run_id in newest:
        source = recording.read(store.run(run_id).event_log(), store.bodies(run_id))
        models = {call.seq: call for call in source.calls if call.kind == "model"}
        mine = [one for one in found if one.run_id == run_id]
        assert [one.seq for one in mine] == sorted(models)
        for one in mine:
            call = models[one.seq]
            assert (one.request, one.outcome) == (call.request, call.outcome)
            assert (one.lane, one.ordinal) == (call.lane, call.ordinal)
            named = {*call.request["messages"], call.outcome["message"]}
            assert one.bodies == {digest: source.bodies[digest] for digest in named}


def talking(given):
    """Each question repeats what was said before, to two models in turn."""
    said = [SystemMessage("be kind"), HumanMessage("hello")]
    for number in range(4):
        model = agents.DeskModel(lookups=0, model_name=f"desk-{number % 2 + 1}")
        said += [model.invoke(said), HumanMessage(f"and {number}?")]


@pytest.mark.parametrize("way", ["_queried", "_walked"])
def test_a_request_that_is_written_by_reference_is_read_whole(
    folders, world, together, monkeypatch, way
):
    run = wb.record(folders, talking, None)
    assert run.events["payload"].str.contains(sharing.REFERENCE, literal=True).any()
    monkeypatch.setattr(recorded, "calls", getattr(recorded, way))
    source = recording.read(run.event_log(), run.bodies())
    found = lake_of(together(run))("model", "desk-2")
    assert [one.request for one in found] == [call.request for call in source.calls[1::2]]
    assert len(found[-1].request["messages"]) == 8


def test_the_newest_are_kept_and_the_replayed_runs_own_in_any_case():
    store = wb.open("datasets")
    runs = store.runs()["run_id"].to_list()
    asking = [r for r in runs if "look_up_order" in store.run(r).calls["name"].to_list()]
    found = lake_of(store, most=10)("tool", "look_up_order")
    assert [one.run_id for one in found] == asking[:10]
    assert [one.rank for one in found] == list(range(1, 11))
    oldest = asking[-1]
    found = lake_of(store, source=oldest, most=10)("tool", "look_up_order")
    assert [one.run_id for one in found] == [oldest, *asking[:10]]
    assert [one.rank for one in found] == list(range(11))


def test_the_lake_is_the_whole_store_and_not_the_replayed_run_alone(folders, world, together):
    runs = [wb.record(folders, agents.polling, None) for _ in range(3)]
    store = together(*runs)
    found = lake_of(store, source=runs[0].run_id)("tool", "ask")
    assert [one.run_id for one in found][::3] == [run.run_id for run in (runs[0], *runs[:0:-1])]
    assert outcomes(found[:3]) == [one["answer"] for one in runs[0].output]
    assert lake_of(store)("model", "ask") == lake_of(store)("tool", "other") == ()


def test_answers_that_were_replayed_edited_or_simulated_are_never_candidates(
    folders, world, together
):
    run = wb.record(folders, agents.polling, None)
    store = together(run)
    replayed = wb.replay(run, agents.polling)
    cached = wb.replay(run, agents.polling, mode="cached")
    edit = {"outcome": {"what": "ready?", "answer": "edited"}}
    forked = wb.fork(run, at=run.calls["seq"][0], edits=edit, agent=agents.polling).run()
    simulated = wb.replay(
        store.run(run.run_id), agents.polling, mode="simulated", simulate=Simulator({"ask": 1})
    )
    others = [result.run for result in (replayed, cached, forked, simulated)]
    assert all(set(other.calls["mode"]) <= {"exact", "cached", "simulated"} for other in others)
    found = lake_of(together(run, *others))("tool", "ask")
    assert {one.run_id for one in found} == {run.run_id}


def test_a_call_that_a_fork_really_made_is_one(folders, world, together):
    run = wb.record(folders, agents.desk_graph, agents.question())
    at = run.calls.filter(run.calls["lane"] == "root/tools/2")["seq"].item()
    fork = wb.fork(run, at=at, edits={"outcome": "lost"}, agent=agents.desk_graph, rest="live")
    made = fork.run().run
    found = lake_of(together(made))("model", "desk-1")
    assert [one.seq for one in found] == made.calls.filter(made.calls["mode"] == "live")[
        "seq"
    ].to_list()


def test_what_did_not_come_back_whole_is_none(folders, world, together):
    run = wb.record(folders, agents.polling, None)

    def broken(event):
        if event.event_type != "call_ended":
            return event
        change = {2: {"status": "cancelled"}, 3: {"quality": "lossy"}}.get(event.ordinal, {})
        return msgspec.structs.replace(event, digest=None, **change)

    from workbench.schema import RunHeader

    sink = folders.writer(RunHeader(name="broken"))
    log = [broken(event) for event in run.event_log()]
    sink.append([e for e in log if (e.event_type, e.ordinal) != ("call_ended", 1)], run.bodies())
    sink.close()
    found = lake_of(together(folders.run(sink.run_id)))("tool", "ask")
    assert found == (), "one is in flight, one was left, one lost something"


def test_a_failed_call_is_found_as_such(folders, world, together):
    run = wb.record(folders, agents.retrying, None)
    found = lake_of(together(run))("tool", "flaky")
    assert [one.failed for one in found] == [True, True, False]
    assert found[0].exception["class"] == "builtins:TimeoutError"


def test_a_name_is_a_name_and_no_sql(folders, world, together):
    def agent(given):
        return oddly_named("x")

    run = wb.record(folders, agent, None)
    (one,) = lake_of(together(run))("tool", 'it\'s a "tool"; drop')
    assert one.run_id == run.run_id


# ---- asked in the middle of a replay


def lookups_then_threads(given):
    """Ask what the source never asked, and then spawn: what is looked up takes no lane."""
    found = [agents.ask("a")]
    with ThreadPoolExecutor(1) as pool:
        found.append(pool.submit(in_a_job).result())
    return found


def in_a_job():
    first = oddly_named("in a job")
    results = []
    thread = threading.Thread(target=lambda: results.append(agents.ask("b")))
    thread.start()
    thread.join()
    return [first, results]


def test_a_lookup_in_the_middle_of_a_replay_takes_no_lane_of_the_agent(folders, world, together):
    def nothing(given):
        return None

    source = wb.record(folders, nothing, None)
    other = wb.record(folders, lookups_then_threads, None)
    store = together(source, other)
    world.poisoned = True
    result = wb.replay(store.run(source.run_id), lookups_then_threads, mode="simulated")
    assert result.run.status == "done", result.divergences
    assert result.output == other.output
    where = ["lane", "ordinal", "kind", "name", "signature"]
    assert result.run.calls.select(where).equals(other.calls.select(where))


def elsewhere(given):
    return agents.ask("only here")


def test_a_servers_runs_are_found_by_its_public_api_and_no_other_workspaces(server, store, world):
    source = wb.record(store, agents.polling, None)
    other = wb.record(store, elsewhere, None)
    beside = server.make_workspace(f"beside-{server.workspace.name}")
    with connect(server.url, beside.api_key) as foreign:
        theirs = wb.record(foreign, elsewhere, None)
        assert [one.run_id for one in lake_of(foreign)("tool", "ask")] == [theirs.run_id]
    found = lake_of(store, source=source.run_id)("tool", "ask")
    assert [one.run_id for one in found] == [*[source.run_id] * 3, other.run_id]
    world.poisoned = True
    result = wb.replay(source, elsewhere, mode="simulated")
    assert result.run.status == "done", result.divergences
    assert result.output == other.output
    assert result.run.store is store
    assert lake_of(store, source=source.run_id)("tool", "ask") == found, "it added nothing"


class FarFolder(FolderStore):
    """A folder that is reached by a new connection each time, as one in an object store may be."""

    listener = None

    def sql(self, query):
        if self.listener is not None:
            socket.create_connection(self.listener.getsockname()).close()
        return super().sql(query)


def test_a_guarded_replay_lets_nobody_connect_but_the_lookup(folders, world, together):
    def nothing(given):
        return None

    source = wb.record(folders, nothing, None)
    other = wb.record(folders, lookups_then_threads, None)
    store = FarFolder(together(source, other).address)
    world.poisoned = True
    with socket.create_server(("127.0.0.1", 0)) as store.listener:
        result = wb.replay(store.run(source.run_id), lookups_then_threads, mode="simulated")
    assert result.run.status == "done", result.divergences
    assert result.output == other.output
    assert result.certificate["strength"] == "guarded"


@pytest.mark.parametrize("most", [1, 7, 500])
def test_run_by_run_the_same_is_found_as_by_one_query(most):
    store = wb.open("datasets")
    source = store.runs()["run_id"][100]
    wanted = [("model", "larkfield-offline-1"), ("tool", "issue_refund"), ("tool", "open_ticket")]
    several = [
        find(store, wanted, source=source, most=most)
        for find in (recorded._queried, recorded._walked)
    ]
    (by_query, _), (by_run, _) = several
    # a run's calls come by seq where runs are read one by one; a kind and name's are the same
    for kind, name in wanted:
        one, other = (
            f.filter((f["kind"] == kind) & (f["name"] == name)) for f in (by_query, by_run)
        )
        assert one.height > 0
        assert one.equals(other)


def test_of_a_server_with_a_lake_the_lake_is_asked(server, store, worker, world, monkeypatch):
    source = wb.record(store, agents.polling, None)
    while not store.snapshots().get("tables"):
        time.sleep(0.2)
    assert recorded._is_read_at_once(store)
    monkeypatch.setattr(recorded, "_walked", None)
    found = lake_of(store)("tool", "ask")
    assert [one.run_id for one in found] == [source.run_id] * 3
