"""Readers that break off and come back under load see every event once, in order."""

from __future__ import annotations

import random
import signal
import threading

import proof
import pytest
from followers import Follower
from machines import PATIENCE_S, end, until
from plays import Play, end_all

from workbench.store import connect


@pytest.fixture(scope="module")
def servers(stack):
    return [stack.server(), stack.server()]


def follow(play, servers, count=4, **more):
    """Start readers; each connection goes to any of the servers."""

    def reader(number):
        rng = random.Random(play.rng.getrandbits(64))
        made = Follower(
            f"r{number}",
            play.run_id,
            address=lambda: ("127.0.0.1", rng.choice(servers).port),
            api_key=play.stack.workspace.api_key,
            rng=rng,
            **more,
        )
        made.start()
        return made

    return [reader(number) for number in range(count)]


def wait(readers):
    for one in readers:
        one.join(PATIENCE_S)
    return [one.wrong or f"{one.name} hangs" for one in readers if one.wrong or one.is_alive()]


def stored(play):
    with proof.snapshot(play.stack.owner_url) as connection:
        rows = connection.execute(
            "select seq, encode(digest, 'hex') as digest from events where run_id = %s order by 1",
            [play.run_id],
        )
        return [(row["seq"], row["digest"]) for row in rows]


def test_readers_that_come_back_see_every_event_once(stack, servers, rng, turn):
    play = Play(stack=stack, servers=servers, rng=rng)
    early = follow(play, servers, 3)
    with connect(servers[1].url, stack.workspace.api_key) as store:
        frames, product = follow_by_the_library(store, play)
        play.start(total=200, most=6)
        play.reach(rng.random() * 0.9)
        late = follow(play, servers, 2)
        if turn % 4 == 0:
            end(servers[1].process, rng.choice([signal.SIGTERM, signal.SIGKILL]))
            servers[1].start()
        end_all(play)
        product.join(PATIENCE_S)
    assert wait([*early, *late]) == []
    for reader in (*early, *late):
        assert stored(play) == reader.seen
    assert stored(play) == [row for one in frames for row in one.select("seq", "digest").rows()]


def follow_by_the_library(store, play):
    """Follow as a notebook does: one loop over frames, and no word about broken connections."""
    frames = []
    following = store.follow(play.run_id)
    thread = threading.Thread(target=lambda: frames.extend(following), daemon=True)
    thread.start()
    return frames, thread


@pytest.mark.parametrize("step", [-1, 1])
def test_a_reader_that_goes_on_from_another_place_is_found_out(stack, servers, rng, step):
    play = Play(stack=stack, servers=servers, rng=rng)
    play.start(total=60)
    end_all(play)
    reader, *_ = follow(
        play, servers, 1, breaks=(20,), back=lambda last: max(last + step, 0) if last else 0
    )
    until(lambda: reader.connections > 2, "it came back")
    reader.stop()
    assert stored(play)[: len(reader.seen)] != reader.seen


def test_a_stopping_server_says_so(stack, rng):
    server = stack.server()
    play = Play(stack=stack, servers=[server], rng=rng)
    play.start(1, total=5)
    readers = follow(play, [server], 1)
    until(lambda: readers[0].last == 5 or readers[0].wrong, "it has what there is")
    server.terminate()
    until(lambda: "shutdown" in readers[0].said or readers[0].wrong, "it is told")
    server.start()
    end_all(play)
    assert wait(readers) == []
    assert stored(play) == readers[0].seen
