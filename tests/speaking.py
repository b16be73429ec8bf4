"""Plain HTTP to a live server: events and batches by hand, and a client that knows no library."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from msgspec import Raw

from workbench import hashing
from workbench.schema import Event

START = datetime(2026, 1, 1, tzinfo=UTC)


class Client:
    """Plain HTTP with a key; no code of the library between test and server."""

    def __init__(self, url, api_key):
        headers = {"Authorization": f"Bearer {api_key}"}
        self.http = httpx.Client(base_url=f"{url}/v1", headers=headers, timeout=60)

    def create(self, **header):
        answer = self.http.post("/runs", json=header)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["run_id"]

    def send(self, run_id, events, bodies=None, **more):
        content = b'{"events":[%b],"bodies":%b%b}' % (
            b",".join(wire(event) for event in events),
            json.dumps(bodies or {}).encode(),
            b"".join(b',"%b":%b' % (k.encode(), json.dumps(v).encode()) for k, v in more.items()),
        )
        return self.http.post(f"/runs/{run_id}/events", content=content)

    def row(self, run_id):
        return self.http.get(f"/runs/{run_id}").json()

    def events(self, run_id, **query):
        return self.http.get(f"/runs/{run_id}/events", params=query).json()["events"]


def wire(event):
    return event if isinstance(event, bytes) else hashing._event_encoder.encode(event)


def event(event_type, writer_seq, payload=None, *, writer="w", **fields):
    """A sealed event whose time follows from its number."""
    fields = {"started_at": START + timedelta(seconds=writer_seq)} | fields
    payload = Raw(hashing.dumps({} if payload is None else payload))
    return hashing.sealed(
        Event(
            event_type=event_type, writer=writer, writer_seq=writer_seq, payload=payload, **fields
        )
    )


def a_model_call(writer_seq, *, messages=(), outcome=None, **fields):
    """A model call's two events, under one step."""
    step = fields.pop("step_id", f"s{writer_seq}")
    same = {"step_id": step, "kind": "model", "name": "m", "lane": "root", "ordinal": writer_seq}
    request = {"messages": list(messages), "model": "m"}
    ended = {"outcome": {"message": outcome} if outcome else {"value": 1}}
    return [
        event("call_started", writer_seq, {"request": request}, status="running", **same),
        event("call_ended", writer_seq + 1, ended, status="ok", **same, **fields),
    ]


def a_message(text, role="user"):
    body = {"content": text, "role": role}
    return hashing.digest_of(body), body


def a_whole_run(**fields):
    """A short run of one model call, from run_started to run_ended, and its bodies."""
    asked, answered = a_message("what is 2 + 2?"), a_message("4", "assistant")
    call = a_model_call(
        2, messages=[asked[0]], outcome=answered[0], input_tokens=7, output_tokens=1, cost_usd=0.5
    )
    started = event("run_started", 1, {"input": "2 + 2"})
    ended = event("run_ended", 4, {"output": "4", "writers": {"w": 4}}, status="done")
    return [started, *call, ended], dict([asked, answered])


@pytest.fixture
def client(server):
    """A client of the first workspace."""
    opened = Client(server.url, server.api_key)
    yield opened
    opened.http.close()


@pytest.fixture
def other(server):
    """A client of a second workspace."""
    opened = Client(server.url, server.make_workspace(f"other-{server.workspace.name}").api_key)
    yield opened
    opened.http.close()
