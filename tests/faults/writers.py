"""Small honest clients: each keeps what it sent and what it was told, and resends what it must."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from machines import PATIENCE_S
from proof import Known, digest_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_OK, _CONFLICT, _UNAVAILABLE, _BUSY = 200, 409, 503, 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An event as it goes over the wire, its digest, and the bodies it names."""

    line: bytes
    digest: str
    bodies: dict[str, bytes]


class Maker:
    """Makes a writer's events by their number: calls, steps and remarks, each with its token."""

    def __init__(self, writer: str, rng: random.Random) -> None:
        self.writer = writer
        self.rng = rng
        self._made: dict[int, Made] = {}

    def event(self, number: int) -> Made:
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def _make(self, number: int) -> Made:
        token = f"{self.writer}/{number}/{self.rng.randrange(2**40)}"
        bodies: dict[str, bytes] = {}
        fields: dict[str, Any] = {"name": self.rng.choice(["a", "ä", "plan"]), "lane": "root"}
        match self.rng.randrange(7):
            case 0:
                event_type = "call_started"
                # One that other runs say as well, and one of its own.
                rule = {"role": "system", "content": f"rule {self.rng.randrange(3)}"}
                said = [_pooled(bodies, rule), _pooled(bodies, {"role": "user", "content": token})]
                body = {"request": {"messages": said, "model": "m", "token": token}}
                fields |= {"kind": "model", "step_id": f"s{number}", "ordinal": number}
            case 1:
                event_type = "call_ended"
                digest = _pooled(bodies, {"role": "assistant", "content": f"re {token}"})
                body = {"outcome": {"message": digest}, "usage": {"token": token}}
                fields |= {"kind": "model", "status": self.rng.choice(["ok", "error"])}
                fields |= {"input_tokens": self.rng.randrange(100), "duration_ms": 12.5}
                fields |= {"cost_usd": self.rng.choice([None, 0.25, 1.5, 0.0])}
            case 2:
                event_type, body = "call_started", {"request": {"arguments": {}, "token": token}}
                fields |= {"kind": "tool", "effect": "write"}
            case 3:
                event_type = "call_ended"
                body = {"outcome": {"value": "no"}, "usage": {"token": token}}
                fields |= {"kind": "tool", "status": "error", "output_tokens": 3}
            case 4:
                event_type, body = "step_started", {"input": {"token": token}}
            case 5:
                text = "x" * self.rng.randrange(1500)
                event_type, body = "annotated", {"label": "l", "value": {"t": text, "token": token}}
            case _:
                event_type, body = "state_changed", {"changes": {"token": token}}
        return self.made(event_type, number, body, fields=fields, bodies=bodies)

    def made(
        self,
        event_type: str,
        number: int,
        body: dict[str, Any],
        *,
        fields: dict[str, Any],
        bodies: dict[str, bytes] | None = None,
    ) -> Made:
        at = self.at(number)
        payload = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        whole = {
            "event_type": event_type, "writer": self.writer, "writer_seq": number, "started_at": at,
        } | {name: value for name, value in fields.items() if value is not None}  # fmt: skip
        digest = digest_of(whole, payload)
        wire = whole | {"started_at": at.isoformat()}
        if self.rng.random() < 0.7:
            wire["digest"] = digest  # the server holds its own against it
        head = json.dumps(wire, ensure_ascii=False).encode()
        return Made(
            line=b'%b,"payload":%b}' % (head[:-1], payload), digest=digest, bodies=bodies or {}
        )

    def at(self, number: int) -> datetime:
        return _BEGIN + timedelta(seconds=number, microseconds=self.rng.choice([0, 1, 999_999]))

    def end(self, number: int, announced: dict[str, int]) -> Made:
        """Return the run's last event."""
        body = {"writers": announced, "output": None}
        made = self.made("run_ended", number, body, fields={"status": "done"})
        self._made[number] = made
        return made


def _pooled(bodies: dict[str, bytes], message: dict[str, str]) -> str:
    raw = json.dumps(message, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(raw).hexdigest()
    bodies[digest] = raw
    return digest


def batch_of(made: Sequence[Made]) -> bytes:
    bodies = {digest: raw for one in made for digest, raw in one.bodies.items()}
    pooled = b",".join(b'"%b":%b' % (d.encode(), raw) for d, raw in bodies.items())
    return b'{"events":[%b],"bodies":{%b}}' % (b",".join(one.line for one in made), pooled)


class Line:
    """A connection that is made again when it broke; no request is sent twice by itself."""

    def __init__(self, address: Callable[[], tuple[str, int]], api_key: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._open: http.client.HTTPConnection | None = None

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Return status and JSON; OSError or HTTPException where the answer was lost."""
        if self._open is None:
            self._open = http.client.HTTPConnection(*self._address(), timeout=PATIENCE_S)
        try:
            self._open.request(method, f"/v1{path}", body=body, headers=self._headers | headers)
            answer = self._open.getresponse()
            content = answer.read()
        except BaseException:
            self.close()
            raise
        is_json = "json" in (answer.getheader("content-type") or "")
        return answer.status, json.loads(content) if is_json and content else content

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class Writer(threading.Thread):
    """Delivers events 1 to `total` of one name to one run, through whatever happens.

    After an answer that did not come it either sends the same again, or goes on and lets the
    server say where it stands (`sequence_gap {expected}`).
    """

    def __init__(
        self,
        name: str,
        run_id: str,
        *,
        line: Line,
        rng: random.Random,
        total: int,
        most: int = 20,
        known: Known | None = None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.run_id = run_id
        self.line = line
        self.rng = rng
        self.total = total
        self.most = most
        self.known = known or Known()
        self.maker = Maker(name, rng)
        self.next = 1
        self.lost = 0
        self.wrong: list[str] = []
        self._enough = threading.Event()
        self._moves = threading.Event()

    def run(self) -> None:
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001 - told by the case, not by the thread
            self.wrong.append(f"{self.name}: {error!r}")
        finally:
            self.line.close()

    def stop(self) -> None:
        self._enough.set()

    def move(self) -> None:
        """Let the next request go over another connection."""
        self._moves.set()

    def _deliver(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.next <= self.total and not self._enough.is_set():
            if time.monotonic() > deadline:
                raise TimeoutError(f"stands at {self.next} of {self.total}")
            size = 1 if self.rng.random() < 0.4 else self.rng.randint(1, self.most)
            self.offer(range(self.next, min(self.next + size, self.total + 1)))

    def offer(self, numbers: range) -> None:
        """Send these once, and take in what came back."""
        if self._moves.is_set():
            self._moves.clear()
            self.line.close()
        made = [self.maker.event(number) for number in numbers]
        for number, one in zip(numbers, made, strict=True):
            self.known.sent[self.name, number] = one.digest
        try:
            status, answer = self.line.send("POST", f"/runs/{self.run_id}/events", batch_of(made))
        except (OSError, http.client.HTTPException):
            self._was_lost(numbers)
            return
        self._take_in(numbers, status, answer)

    def _take_in(self, numbers: range, status: int, answer: Any) -> None:
        code = answer.get("code") if isinstance(answer, dict) else None
        if status == _OK:
            self._acknowledged(numbers, answer)
        elif code == "sequence_gap":
            self._told_where(int(answer["expected"]))
        elif status in (_UNAVAILABLE, _BUSY):
            self._was_lost(numbers)
        else:
            raise AssertionError(f"{numbers} was answered by {status} {answer}")

    def _acknowledged(self, numbers: range, answer: dict[str, Any]) -> None:
        new = answer["accepted"]
        if new + answer["duplicates"] != len(numbers):
            raise AssertionError(f"{numbers} was answered by {answer}")
        self._told_where(numbers[0])
        first = answer["first_seq"]
        for number in numbers[: len(numbers) - new]:
            self.known.acknowledged.setdefault((self.name, number), None)
        for at, number in enumerate(numbers[len(numbers) - new :]):
            self.known.acknowledged[self.name, number] = None if first is None else first + at
        self.next = numbers[-1] + 1

    def _told_where(self, expected: int) -> None:
        """All before `expected` is stored: it was sent, and its answer was lost."""
        for number in range(1, expected):
            if (self.name, number) not in self.known.sent:
                raise AssertionError(f"{expected} is expected, and {number} was never sent")
            self.known.acknowledged.setdefault((self.name, number), None)
        self.next = expected

    def _was_lost(self, numbers: range) -> None:
        self.lost += 1
        time.sleep(self.rng.uniform(0, 0.02))  # not a condition: others need the processor
        if self.rng.random() < 0.3 and numbers[-1] < self.total:
            self.offer(range(numbers[-1] + 1, numbers[-1] + 2))  # the server says where it stands


def finish(writers: Sequence[Writer]) -> None:
    """Wait for all of them, and say what went wrong in any."""
    for one in writers:
        one.join(PATIENCE_S)
    wrong = [text for one in writers for text in one.wrong]
    wrong += [f"{one.name} hangs" for one in writers if one.is_alive()]
    if wrong:
        raise AssertionError("\n".join(wrong))
