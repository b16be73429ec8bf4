"""A call made live in a replay may connect, with all it starts; everything else stays refused."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import outside_agents
import pytest
import replay_agents as agents
from test_outside import Server, reached

import workbench as wb
from workbench import recording as recordings
from workbench.capture import agents as found_agents
from workbench.capture import code
from workbench.capture.journal import Journal
from workbench.replay import guard
from workbench.replay.engine import Match
from workbench.replay.playing import play
from workbench.replay.session import ReplaySession
from workbench.schema import RunHeader

WAYS = {name: outside_agents.WAYS[name] for name in ("fresh", "thread", "executor", "process")}


@wb.call(effect="read")
def reach(way, port):
    """The call that is made live: it gets outside in its own way."""
    WAYS[way](port)
    return way


@wb.call(effect="read")
async def areach(port):
    """The same in tasks, whose names are looked up in an executor of the loop."""

    async def connect():
        _, writer = await asyncio.open_connection("localhost", port, family=2)
        writer.write(b"x")
        await writer.drain()
        writer.close()

    await asyncio.gather(asyncio.create_task(connect()))


class OneLive(ReplaySession):
    """Makes the calls of `reach` and `areach` live, and answers all others."""

    permits = True

    def _matched(self, question, opened):
        if question.name not in ("reach", "areach"):
            return super()._matched(question, opened)
        if self.permits:
            guard.permit(opened)
        return Match(call=None, level="live")

    def _accept(self, opened, match):
        if match.level != "live":
            super()._accept(opened, match)
            return
        opened.labels = self.labels("live")
        self._log(opened, "live", None)

    def write_end(self, opened, came, *, status):
        super().write_end(opened, came, status=status)
        guard.revoke(opened)


@pytest.fixture
def server(tmp_path):
    made = Server(str(tmp_path / "s"))
    yield made
    made.close()


@pytest.fixture
def replayed(folders, world):
    def replay(agent, given, *, permits=True):
        run = wb.record(folders, agent, given)
        world.poisoned = True
        source = recordings.read(run.event_log(), run.bodies())
        session = OneLive(Journal(folders.writer(RunHeader())), source, mode="cached")
        session.permits = permits
        found = found_agents.find_agent(agent)
        return play(session, source, found, now=code.fingerprint(agent, entry_point=None))

    return replay


def gaps(played):
    return [found for found in played.divergences if found.kind == "capture_gap"]


@pytest.mark.parametrize("way", WAYS)
def test_a_live_call_connects_in_every_way_and_its_neighbours_are_answered(replayed, server, way):
    def agent(port):
        return [agents.ask("before"), reach(way, port), agents.ask("after")]

    played = replayed(agent, server.port)
    assert [row.match_level for row in played.answered] == ["exact", "live", "exact"]
    assert not gaps(played)
    assert reached(server, 2) == 2


def test_a_live_call_s_tasks_connect(replayed, server):
    async def agent(port):
        await areach(port)
        return agents.ask("after")

    played = replayed(agent, server.port)
    assert not gaps(played)
    assert reached(server, 2) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", WAYS)
def test_without_its_permit_the_same_call_is_refused(replayed, server, way):
    def agent(port):
        with suppress(Exception):
            reach(way, port)

    assert gaps(replayed(agent, server.port, permits=False))
    assert reached(server, 1) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_agent_s_own_code_is_refused_before_beside_and_after_a_live_call(replayed, server):
    def agent(where):
        tried, free = threading.Event(), threading.Event()

        @wb.call(effect="read", name="reach")
        def slow(port):
            free.set()
            tried.wait(5)
            outside_agents.fresh(port)

        def beside():
            free.wait(5)
            with suppress(BaseException):
                outside_agents.fresh(where["port"])
            tried.set()

        if where["when"] == "before":
            outside_agents.fresh(where["port"])
        if where["when"] == "beside":
            other = threading.Thread(target=beside)
            other.start()
            slow(where["port"])
            other.join()
        else:
            reach("fresh", where["port"])
        if where["when"] == "after":
            outside_agents.fresh(where["port"])

    expected = 0
    for when, live in (("before", 0), ("beside", 1), ("after", 1)):
        played = replayed(agent, {"when": when, "port": server.port})
        assert gaps(played), when
        expected += 2 + live
        assert reached(server, expected) == expected


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_a_live_call_left_running_is_refused_when_it_is_over(replayed, server):
    left = []

    def agent(port):
        go_on = threading.Event()

        @wb.call(effect="read", name="reach")
        def leaves():
            def work():
                go_on.wait(5)
                with suppress(BaseException):
                    outside_agents.fresh(port)

            left.append(threading.Thread(target=work))
            left[-1].start()

        leaves()
        go_on.set()
        left[-1].join()

    assert gaps(replayed(agent, server.port))
    assert reached(server, 1) == 1


def test_two_live_calls_at_once_have_a_permit_each(replayed, server):
    def agent(port):
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda _: reach("thread", port), range(2)))

    assert not gaps(replayed(agent, server.port))
    assert reached(server, 4) == 4
    assert guard._permitted == {}
