"""Replays whose worker is killed or stopped, or is late: taken up again, and done once."""

import asyncio
from datetime import timedelta

import psutil
import psycopg
import pytest
from replays_asked import over, running, until
from running import AGENTS, service
from strengths import isolated
from workbench_server.agents import Agent
from workbench_server.keys import fresh_key
from workbench_server.worker import replaying
from workbench_server.worker.snapshot import Worker

from workbench.store import connect
from workbench.store.aside import store_kept


def worker_of(server):
    return service("worker", environment=server.environment | {"WORKBENCH_URL": server.url})


def all_below(process):
    """The processes that play, once the isolated one is among them."""
    found = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
    return found if len(found) > 1 else []


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def forget_heartbeats(server):
    """Let the queue see at once that a worker is gone, which takes it half a minute else."""
    with psycopg.connect(server.database.owner_url) as owner:
        owner.execute(
            "update jobs.procrastinate_workers set last_heartbeat = now() - %s",
            [timedelta(minutes=5)],
        )


@isolated
def test_a_killed_worker_s_replay_is_taken_up_and_there_is_one_result(
    own_server, own_store, own_run, gate
):
    asked = own_store.replays.submit(own_run, agent="slow", key="k")
    with worker_of(own_server) as first:
        running(own_store, asked["job_id"])
        playing = until(lambda: all_below(first), "the replay is played")
        first.kill()
        first.wait()
    until(lambda: not any(map(is_alive, playing)), "nothing of it is left")
    assert own_store.replays.get(asked["job_id"])["status"] == "running"
    forget_heartbeats(own_server)
    gate.touch()
    with worker_of(own_server):
        row = over(own_store, asked["job_id"])
    assert (row["status"], row["attempts"], row["run_id"]) == ("done", 2, asked["run_id"])
    assert row["result"]["identical"]
    made = own_store.runs(parent_run_id=own_run)
    assert made["run_id"].to_list() == [row["run_id"]]
    assert own_store.replays.submit(own_run, agent="slow", key="k") == row


def test_a_killed_worker_s_replay_ends_also_where_its_agent_makes_no_more_calls(
    own_server, own_store, own_run, gate
):
    """It is no process beside the agent's own that could end: what is live is not isolated."""
    asked = own_store.replays.submit(own_run, agent="slow-outside", mode="cached", on_miss="live")
    try:
        with worker_of(own_server) as first:
            until(
                lambda: own_store.replays.get(asked["job_id"])["progress"].get("done") == 1,
                "the agent waits",
            )
            playing = [one.pid for one in psutil.Process(first.pid).children(recursive=True)]
            first.kill()
            first.wait()
        assert playing
        until(lambda: not any(map(is_alive, playing)), "nothing of it is left")
    finally:
        gate.touch()  # let it go, whatever came of it


@isolated
def test_a_worker_that_is_stopped_hands_its_replay_on(own_server, own_store, own_run, gate):
    asked = own_store.replays.submit(own_run, agent="slow")
    with worker_of(own_server) as first:
        running(own_store, asked["job_id"])
        first.terminate()
        first.wait(60)
        assert own_store.replays.get(asked["job_id"])["status"] == "queued"
    gate.touch()
    with worker_of(own_server):
        row = over(own_store, asked["job_id"])
    assert (row["status"], row["attempts"]) == ("done", 2)


@isolated
def test_replays_of_one_workspace_run_side_by_side(own_server, own_store, own_run, gate):
    jobs = [own_store.replays.submit(own_run, agent="slow")["job_id"] for _ in range(2)]
    with worker_of(own_server):
        for job_id in jobs:
            running(own_store, job_id)
        gate.touch()
        assert [over(own_store, job_id)["status"] for job_id in jobs] == ["done", "done"]


# ---- by hand, to stop where no signal would hit


@pytest.fixture
def replayer(own_server):
    """What a worker has, without the queue."""
    return replaying.Replayer(
        worker=Worker(url=own_server.database.worker_url, lake=None),
        agents={name: Agent(**said) for name, said in AGENTS.items()},
        url=own_server.url,
    )


async def claimed(replayer, own_server, asked):
    return await replaying._claimed(
        replayer.worker, own_server.workspace.workspace_id, asked["job_id"]
    )


async def played(replayer, own_server, asked):
    """Do what a worker does until the run is kept, and go no further."""
    job = await claimed(replayer, own_server, asked)
    key = fresh_key()
    await replaying._say(replayer.worker, job, "lend_key", **key.facts(), lasts_s=60.0)
    agent = replayer.agents[job.args["agent"]]
    order = replaying._order(replayer, job, agent, api_key=key.secret)
    done = await replaying._played(replayer, job, agent, order)
    await replaying._stage(replayer, job, done)
    return job


@pytest.fixture
def kept(own_server, own_store, own_run, gate, replayer):
    """A job whose run was played and kept; whoever played it again would wait for ever."""
    gate.touch()
    asked = own_store.replays.submit(own_run, agent="slow")
    job = asyncio.run(played(replayer, own_server, asked))
    gate.unlink()
    return asked, job.staged


@isolated
@pytest.mark.parametrize("stored", [0, 3])
def test_what_was_kept_is_stored_by_the_next_and_not_played_again(
    own_server, own_store, own_run, kept, stored
):
    asked, staged = kept
    if stored:
        with cut_short(own_server, stored) as own:
            store_kept(own, staged)
        assert own_store.run(asked["run_id"]).status == "running"
    with worker_of(own_server):
        row = over(own_store, asked["job_id"])
    made = own_store.run(row["run_id"])
    assert (row["status"], row["attempts"], made.status) == ("done", 2, "done")
    result = own_store.get_artifact(row["result_artifact"])
    assert f'"{made.digest}"'.encode() in result
    assert own_store.runs(parent_run_id=own_run).height == 1


class cut_short:  # noqa: N801 - read as a sentence
    """A store whose sender is gone after a few events."""

    def __init__(self, server, events):
        self.store, self.events = connect(server.url, server.api_key), events

    def __enter__(self):
        append = self.store.append
        self.store.append = lambda run_id, events, bodies: append(
            run_id, events[: self.events], bodies
        )
        return self.store

    def __exit__(self, *_):
        self.store.close()


def test_a_worker_thought_dead_changes_nothing_any_more(own_server, own_store, own_run, replayer):
    asked = own_store.replays.submit(own_run, agent="slow")

    async def both():
        late = await claimed(replayer, own_server, asked)
        now = await claimed(replayer, own_server, asked)
        with pytest.raises(replaying._Superseded):
            await replaying._beat(replayer.worker, late)
        said = {"staged": "s", "result_artifact": "r", "result": {}}
        with pytest.raises(replaying._Superseded):
            await replaying._stage(replayer, late, said)
        await replaying._finish(replayer, late, status="failed", error={"title": "late"})
        before = own_store.replays.get(asked["job_id"])
        await replaying._beat(replayer.worker, now)
        return before

    before = asyncio.run(both())
    assert (before["status"], before["attempts"], before["error"]) == ("running", 2, None)
    assert before["result_artifact"] is None


def test_the_key_of_an_earlier_attempt_opens_nothing(own_server, own_store, own_run, replayer):
    asked = own_store.replays.submit(own_run, agent="slow")
    keys = [fresh_key(), fresh_key()]

    async def both():
        for key in keys:
            job = await claimed(replayer, own_server, asked)
            await replaying._say(replayer.worker, job, "lend_key", **key.facts(), lasts_s=60.0)

    asyncio.run(both())
    with connect(own_server.url, keys[1].secret) as opened:
        assert opened.workspace == own_store.workspace
    with pytest.raises(Exception, match="key"):
        connect(own_server.url, keys[0].secret)


def test_a_live_replay_is_not_repeated(own_server, own_store, own_run, replayer):
    asked = own_store.replays.submit(own_run, agent="outside", mode="live")
    asyncio.run(claimed(replayer, own_server, asked))
    workspace_id = own_server.workspace.workspace_id
    again = replaying.replay(replayer, workspace_id, job_id=asked["job_id"])
    assert asyncio.run(again) == "failed"
    assert "live" in own_store.replays.get(asked["job_id"])["error"]["title"]


def test_where_the_worker_s_list_says_nothing_of_live_nothing_is(
    own_server, own_store, own_run, replayer
):
    asked = own_store.replays.submit(own_run, agent="outside", mode="live")
    agents = {**replayer.agents, "outside": Agent(target="slow_agents:outside")}
    other = replaying.Replayer(worker=replayer.worker, agents=agents, url=replayer.url)
    workspace_id = own_server.workspace.workspace_id
    again = replaying.replay(other, workspace_id, job_id=asked["job_id"])
    assert asyncio.run(again) == "failed"
    assert "may not call outside" in own_store.replays.get(asked["job_id"])["error"]["title"]


def test_one_that_is_broken_off_again_and_again_fails(own_server, own_store, own_run, replayer):
    asked = own_store.replays.submit(own_run, agent="slow")
    with psycopg.connect(own_server.database.owner_url) as owner:
        owner.execute("update jobs.jobs set attempts = 10")
    workspace_id = own_server.workspace.workspace_id
    again = replaying.replay(replayer, workspace_id, job_id=asked["job_id"])
    assert asyncio.run(again) == "failed"
    assert "again and again" in own_store.replays.get(asked["job_id"])["error"]["title"]


@isolated
def test_one_that_takes_too_long_is_ended(own_server, own_store, own_run, replayer):
    asked = own_store.replays.submit(own_run, agent="slow")
    hasty = replaying.Replayer(
        worker=replayer.worker, agents=replayer.agents, url=replayer.url, longest_s=3.0
    )
    workspace_id = own_server.workspace.workspace_id
    again = replaying.replay(hasty, workspace_id, job_id=asked["job_id"])
    assert asyncio.run(again) == "failed"
    error = own_store.replays.get(asked["job_id"])["error"]
    assert (error["title"], error["expected"]) == ("the replay took too long", "at most 3 s")
