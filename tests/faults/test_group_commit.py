"""Many clients at once get the answers that each would have got alone, one after another.

The server may store the batches of many requests in one transaction; nobody may notice. Clients
send good, repeated, overlapping, skipping, conflicting, unsound and incomplete batches over two
replicas, and hold every answer against rules that know of no concurrency.
"""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest
from expectations import Item, Rules
from machines import PATIENCE_S
from plays import Play
from writers import Maker

_CLIENTS, _BATCHES = 8, 25
_UNKNOWN = "0" * 64
_STATUS = {
    "sequence_gap": 409, "sequence_conflict": 409, "run_closed": 409, "missing_bodies": 422,
    "invalid_event": 422, "unknown_schema_version": 422,
}  # fmt: skip


@pytest.fixture(scope="module")
def servers(stack):
    return [stack.server(), stack.server()]


class Client(threading.Thread):
    """Sends random batches of its own writers, and compares each answer with the rules."""

    def __init__(self, play, name, *, rng, closes):
        super().__init__(name=name, daemon=True)
        self.play = play
        self.rng = rng
        self.closes = closes
        self.rules = Rules()
        self.line = play.line()
        self.makers = {f"{name}{x}": Maker(f"{name}{x}", rng) for x in "ab"}
        self.wrong = None

    def run(self):
        try:
            for _ in range(_BATCHES):
                self._send()
        except Exception as error:  # noqa: BLE001 - told by the case, not by the thread
            self.wrong = f"{self.name}: {error!r}"
        finally:
            self.line.close()

    # ---- batches

    def _send(self):
        self._send_all(self._batch(), atomic=self.rng.random() < 0.5)

    def _send_all(self, batch, *, atomic):
        bodies = {d: raw for item in batch for d, raw in item.bodies.items()}
        for item in batch:
            if not item.fault:
                self.play.known.sent.setdefault((item.writer, item.number), item.digest)
        before = dict(self.rules.last)
        expected = self.rules.answer(batch, bodies=set(bodies), atomic=atomic)
        content, headers = self._content(batch, bodies, atomic=atomic)
        path = f"/runs/{self.play.run_id}/events?atomic={str(atomic).lower()}"
        if self.rng.random() < 0.4:
            self.line.close()  # the next goes to any replica
        status, answer = self.line.send("POST", path, content, **headers)
        found = _found(status, answer)
        if found != expected.seen():
            told = [(i.writer, i.number, i.fault) for i in batch]
            raise AssertionError(
                f"{told} after {before}, atomic={atomic}: expected {expected}, found {found}: "
                f"{answer}"
            )
        self._note(batch, expected, answer)

    def _content(self, batch, bodies, *, atomic):
        pooled = b",".join(b'"%b":%b' % (d.encode(), raw) for d, raw in bodies.items())
        lines = [item.line for item in batch]
        if self.rng.random() < 0.2:
            head = [b'{"bodies":{%b}}' % pooled] if pooled else []
            return b"\n".join([*head, *lines]), {"Content-Type": "application/x-ndjson"}
        told = b',"atomic":%b' % str(atomic).lower().encode()
        return b'{"events":[%b],"bodies":{%b}%b}' % (b",".join(lines), pooled, told), {}

    def _note(self, batch, expected, answer):
        if expected.code:
            return
        for place, index in enumerate(expected.accepted):
            item = batch[index]
            key = (item.writer, item.number)
            self.play.known.sent[key] = item.digest
            self.play.known.acknowledged[key] = answer["first_seq"] + place

    def _batch(self):
        batch = []
        for name in self.rng.sample(sorted(self.makers), self.rng.choice([1, 1, 1, 2])):
            last = self.rules.last.get(name, 0)
            size = self.rng.choice([1, 1, 2, 5, 20])
            match self.rng.randrange(8):
                case 0:
                    first = self.rng.randint(1, max(last, 1))  # a repeat, or an overlap
                case 1:
                    first = last + self.rng.randint(2, 4)  # a gap
                case _:
                    first = last + 1
            batch += [self._item(name, number) for number in range(first, first + size)]
        if self.rng.random() < 0.1:
            self.rng.shuffle(batch)
        return [self._spoilt(item) if self.rng.random() < 0.06 else item for item in batch]

    def _item(self, name, number):
        made = self.makers[name].event(number)
        return Item(
            line=made.line, writer=name, number=number, digest=made.digest,
            refers=frozenset(made.bodies), bodies=made.bodies,
        )  # fmt: skip

    def _spoilt(self, item):
        match self.rng.randrange(5 if self.closes else 4):
            case 0:
                other = Maker(item.writer, self.rng)._make(item.number)
                return replace(
                    item, line=other.line, digest=other.digest,
                    refers=frozenset(other.bodies), bodies=other.bodies,
                )  # fmt: skip
            case 1:
                return replace(item, line=b'{"event_type":"chunk"}', fault="invalid_event")
            case 2:
                line = item.line.replace(b'"event_type": "', b'"event_type": "un')
                return replace(item, line=line, fault="unknown_schema_version")
            case 3:
                maker = self.makers[item.writer]
                body = {"request": {"messages": [_UNKNOWN], "model": "m"}}
                made = maker.made("call_started", item.number, body, fields={"kind": "model"})
                return replace(
                    item,
                    line=made.line,
                    digest=made.digest,
                    refers=frozenset([_UNKNOWN]),
                    bodies={},
                )
            case _:
                return self._end(item)

    def _end(self, item):
        """End the run, and announce more, just as much, or too little for the other writer."""
        (other,) = set(self.makers) - {item.writer}
        announced = {other: max(self.rules.last.get(other, 0) + self.rng.randint(-1, 6), 0)}
        made = Maker(item.writer, self.rng).end(item.number, announced)
        return replace(
            item, line=made.line, digest=made.digest, refers=frozenset(), bodies={},
            announced=announced,
        )  # fmt: skip


def _found(status, answer):
    if status != 200:
        assert status == _STATUS.get(answer["code"]), answer
        return (answer["code"], 0, 0, ())
    count = answer["accepted"]
    if count:
        assert answer["last_seq"] - answer["first_seq"] + 1 == count, answer
    rejected = tuple((one["index"], one["code"]) for one in answer["rejected"])
    return (None, count, answer["duplicates"], rejected)


def hammer(clients):
    for client in clients:
        client.start()
    for client in clients:
        client.join(PATIENCE_S)
    assert [client.wrong for client in clients if client.wrong or client.is_alive()] == []


def test_concurrent_clients_get_the_answers_they_would_get_alone(stack, servers, rng, turn):
    shared = Play(stack=stack, servers=servers, rng=rng)
    own = [Play(stack=stack, servers=servers, rng=rng) for _ in range(_CLIENTS // 2)]
    plays = [shared] * (_CLIENTS // 2) + own
    clients = [
        Client(play, f"c{n}", rng=random.Random(rng.getrandbits(64)), closes=play is not shared)
        for n, play in enumerate(plays)
    ]
    hammer(clients)
    for play in (shared, *own):
        assert play.look(complete=True) == []
    assert shared.walls() == []


def test_rules_that_forget_one_batch_are_found_out(stack, servers, rng):
    play = Play(stack=stack, servers=servers, rng=rng)
    client = Client(play, "c", rng=rng, closes=False)
    client._send_all([client._item("ca", 1)], atomic=True)
    client.rules.last["ca"] = 0
    with pytest.raises(AssertionError, match="expected"):
        client._send_all([client._item("ca", 1)], atomic=True)
    client.line.close()
