"""Two writers and a third that dies: its events are late, and welcome up to what was announced."""

from __future__ import annotations

import psycopg
import pytest
from plays import Play
from writers import batch_of, finish


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def health(play):
    line = play.line()
    status, row = line.send("GET", f"/runs/{play.run_id}")
    line.close()
    assert status == 200, row
    return row["status"], row["health"]


def refused(play, writer, number):
    """Send one event that has to be refused, and return the code."""
    line = play.line()
    made = writer.maker.event(number)
    status, answer = line.send("POST", f"/runs/{play.run_id}/events", batch_of([made]))
    line.close()
    assert status == 409, answer
    return answer["code"]


def begun(stack, server, rng):
    """Three writers; the third, `dead`, stops somewhere, and the others deliver everything."""
    play = Play(stack=stack, servers=[server], rng=rng)
    play.start(2)
    dead = play.add("dead")
    dead.start()
    play.reach(rng.random())
    dead.stop()
    finish(play.writers)
    return play, dead


def close(play, announced):
    first = play.writers[0]
    first.total += 1
    first.maker.end(first.total, announced | {first.name: first.total})
    first.offer(range(first.total, first.total + 1))
    first.line.close()
    assert first.next == first.total + 1


def test_a_dead_writer_that_was_announced_leaves_a_gap_until_its_events_come(
    stack, server, rng, turn
):
    play, dead = begun(stack, server, rng)
    dead.total = max(dead.total, dead.next)
    alive = {one.name: one.total for one in play.writers[:2]}
    close(play, alive | {dead.name: dead.total})
    assert play.look(complete=True) == []
    assert health(play) == ("done", "gap")
    assert refused(play, dead, dead.total + 1) == "run_closed"
    while dead.next <= dead.total:
        dead.offer(range(dead.next, min(dead.next + rng.randint(1, 40), dead.total + 1)))
    dead.line.close()
    assert health(play) == ("done", "ok")
    assert refused(play, dead, dead.total + 1) == "run_closed"
    assert play.look(complete=True) == []
    assert play.walls() == []


def test_a_dead_writer_that_nobody_announced_is_not_waited_for(stack, server, rng, turn):
    play, dead = begun(stack, server, rng)
    close(play, {one.name: one.total for one in play.writers[:2]})
    assert health(play) == ("done", "ok")
    assert refused(play, dead, dead.next) == "run_closed"
    stranger = play.add("stranger")
    assert refused(play, stranger, 1) == "run_closed"
    assert play.look(complete=True) == []


def test_an_event_beyond_what_was_announced_is_found_out(stack, server, rng):
    play, dead = begun(stack, server, rng)
    alive = {one.name: one.total for one in play.writers[:2]}
    close(play, alive | {dead.name: dead.next - 1})
    with psycopg.connect(stack.owner_url) as owner:
        owner.execute(
            "update writers set final_seq = final_seq + 1 where run_id = %s and writer = 'dead'",
            [play.run_id],
        )
    dead.offer(range(dead.next, dead.next + 1))
    dead.line.close()
    found = play.look()
    assert "writer dead delivered more than was announced" in found, found
