"""Many clients send the same runs, several in a request, at once: each is made and filled once."""

from __future__ import annotations

import random
import threading
from uuid import UUID

import proof
import pytest
from machines import PATIENCE_S
from proof import Known
from writers import Line, Maker

_RUNS, _CLIENTS = 10, 4


@pytest.fixture(scope="module")
def servers(stack):
    return [stack.server(), stack.server()]


class WholeRun:
    """A run as one entry of a request, and what has to become of it."""

    def __init__(self, rng, *, is_sound):
        self.run_id = str(UUID(int=rng.getrandbits(128), version=4))
        self.is_sound = is_sound
        maker = Maker("w", rng)
        count = rng.randint(1, 30)
        made = [maker.event(number) for number in range(1, count)]
        made.append(maker.end(count, {"w": count}))
        if not is_sound:
            made.pop(rng.randrange(len(made)))  # a gap, or a run without an end, which is sound
            self.is_sound = len(made) == count - 1 and self._is_contiguous(made, maker)
        self.sent = {("w", n): one.digest for n, one in enumerate(made, start=1)}
        self.events = [one.line for one in made]
        self.bodies = {digest: raw for one in made for digest, raw in one.bodies.items()}

    @staticmethod
    def _is_contiguous(made, maker):
        return all(one is maker.event(n) for n, one in enumerate(made, start=1))

    @property
    def entry(self):
        header = b'{"run_id":"%b","name":"several"}' % self.run_id.encode()
        return b'{"header":%b,"events":[%b]}' % (header, b",".join(self.events))


def request_of(runs):
    bodies = {digest: raw for run in runs for digest, raw in run.bodies.items()}
    pooled = b",".join(b'"%b":%b' % (d.encode(), raw) for d, raw in bodies.items())
    return b'{"runs":[%b],"bodies":{%b}}' % (b",".join(run.entry for run in runs), pooled)


class Importer(threading.Thread):
    """Sends all runs in an order of its own, a few at a time, some of them twice."""

    def __init__(self, line, runs, rng):
        super().__init__(daemon=True)
        self.line = line
        self.runs = rng.sample(runs, len(runs)) + rng.sample(runs, 3)
        self.rng = rng
        self.answers = []
        self.wrong = None

    def run(self):
        try:
            while self.runs:
                size = self.rng.randint(1, 5)
                some, self.runs = self.runs[:size], self.runs[size:]
                status, answer = self.line.send("POST", "/batches", request_of(some))
                assert status == 200, answer
                self.answers += zip((run.run_id for run in some), answer["runs"], strict=True)
                if self.rng.random() < 0.4:
                    self.line.close()
        except Exception as error:  # noqa: BLE001 - told by the case, not by the thread
            self.wrong = repr(error)
        finally:
            self.line.close()


def test_runs_that_many_send_at_once_are_made_and_filled_once(stack, servers, rng, turn):
    runs = [WholeRun(rng, is_sound=rng.random() < 0.8) for _ in range(_RUNS)]
    importers = []
    for _ in range(_CLIENTS):
        own = random.Random(rng.getrandbits(64))
        line = Line(
            lambda own=own: ("127.0.0.1", own.choice(servers).port), stack.workspace.api_key
        )
        importers.append(Importer(line, runs, own))
    for importer in importers:
        importer.start()
    for importer in importers:
        importer.join(PATIENCE_S)
    assert [one.wrong for one in importers if one.wrong or one.is_alive()] == []
    answers = [pair for importer in importers for pair in importer.answers]
    for run in runs:
        assert whats_wrong(stack, run, [a for run_id, a in answers if run_id == run.run_id]) == []


def whats_wrong(stack, run, answers):
    if not run.is_sound:
        wrong = [a for a in answers if a.get("error", {}).get("code") != "sequence_gap"]
        return wrong + stored_rows(stack, run)
    wrong = [a for a in answers if "error" in a]
    if not wrong:
        counts = (sum(a["created"] for a in answers), sum(a["accepted"] for a in answers))
        wrong = [] if counts == (1, len(run.events)) else [(run.run_id, counts)]
    known = Known(sent=run.sent, acknowledged=dict.fromkeys(run.sent))
    with proof.snapshot(stack.owner_url) as connection:
        where = (connection, stack.workspace.workspace_id, run.run_id)
        return wrong + proof.check(*where, known=known, complete=True)


def stored_rows(stack, run):
    with proof.snapshot(stack.owner_url) as connection:
        return connection.execute(
            "select run_id from runs where run_id = %(r)s"
            " union all select run_id from events where run_id = %(r)s",
            {"r": run.run_id},
        ).fetchall()


def test_a_run_that_is_said_to_be_made_twice_is_found_out(stack, servers, rng):
    run = WholeRun(rng, is_sound=True)
    line = Line(lambda: ("127.0.0.1", servers[0].port), stack.workspace.api_key)
    _, answer = line.send("POST", "/batches", request_of([run]))
    line.close()
    assert whats_wrong(stack, run, answer["runs"]) == []
    assert whats_wrong(stack, run, answer["runs"] * 2) == [(run.run_id, (2, 2 * len(run.events)))]
