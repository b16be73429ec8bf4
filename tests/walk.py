"""The real app on a role above row-level security, and a walk over all of its routes.

Two workspaces hold runs of the same ids. Whatever one of them is answered must be what it would be
answered if the other were not there, and must leave the other as it was.
"""

from __future__ import annotations

import io
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pyarrow as pa
import uvicorn
from psycopg import sql
from speaking import a_message, a_model_call, event, wire
from workbench_server.agents import Agent
from workbench_server.app import make_app
from workbench_server.configuration import Configuration
from workbench_server.listening import bind
from workbench_server.protocol import Protocol
from workbench_server.storage import open_storage
from workbench_server.worker.lake import open_lake
from workbench_server.worker.snapshot import Worker, snapshot
from workbench_server.workspaces import create_workspace

MARK = "FOREIGN"
ROLE = "walls_above"
# The other workspace comes first in every index and in every table.
OTHER = UUID(int=1)
OWN = UUID(int=2**128 - 1)
KEYS = {OTHER: "wbk_other0000000_" + "o" * 43, OWN: "wbk_own000000000_" + "w" * 43}


def run_id(number):
    return str(UUID(int=number, version=4))


ENDED, OPEN, FORK, SUPERSEDED, UNBORN, GAP, CANCELLED, ONLY_OTHER = map(run_id, range(1, 9))
FOLLOWED, UNBORN_TOO, ONLY_OTHER_TOO, DUE = map(run_id, range(9, 13))
JOB = UUID(int=30, version=4)
# Replays: three of both, one for each thing that becomes of them, and one of the other alone.
PLAYED, PUT_BACK, CALLED_OFF, THEIRS = (UUID(int=n, version=4) for n in range(31, 35))
NOBODY_S = str(UUID(int=99, version=4))
SHARED_BYTES, OTHER_BYTES = b"shared", b"FOREIGN bytes"
SHARED, SPARE = a_message("shared", "assistant"), a_message("spare", "assistant")
PLAIN, NEW = a_message("plain", "assistant"), a_message("new")


def sha256(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


# ---- a role above the wall, and the app on it


def bypassing(database, postgres):
    """Return the address of a role that may do what the server may, but that no policy binds."""
    with postgres.owner(database.name) as owner:
        owner.execute(
            f"do $$ begin create role {ROLE} login bypassrls;"
            " exception when duplicate_object then null; end $$"
        )
        owner.execute(
            sql.SQL("alter role {} password {}").format(
                sql.Identifier(ROLE), sql.Literal(postgres.password)
            )
        )
        owner.execute(f"grant workbench_app, workbench_worker to {ROLE}")
    return postgres.address(database.name, role=ROLE)


async def open_anyhow(pool, url):
    """Open the pool as any role."""
    await pool.open(wait=True)


@contextmanager
def serving(url, storage):
    """Serve the app from this process, so that its queries can be changed under it."""
    configuration = Configuration(
        database_url=None,
        app_database_url=url,
        worker_database_url=url,
        bench_database_url=None,
        storage_url=str(storage),
        agents={"own": Agent(target="own"), "live": Agent(target="other", live=True)},
    )
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(configuration, open_pool=open_anyhow),
            http=Protocol,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield server.config.app, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


# ---- what is in the workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running app and what is needed to look behind it."""

    app: Any = field(repr=False)
    url: str
    owner_url: str
    worker: Any = field(repr=False)

    @contextmanager
    def as_(self, workspace_id):
        headers = {"Authorization": f"Bearer {KEYS[workspace_id]}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=10) as http:
            yield http


@contextmanager
def world(database, postgres, folder, *, with_other):
    """The app with one workspace, or with both."""
    url = bypassing(database, postgres)
    with serving(url, folder) as (app, address), _lake(url, folder) as lake:
        made = World(
            app=app, url=address, owner_url=database.owner_url, worker=Worker(url=url, lake=lake)
        )
        for workspace_id in (OTHER, OWN) if with_other else (OWN,):
            make_workspace(database, workspace_id)
            with made.as_(workspace_id) as http:
                fill(http, mark=MARK if workspace_id == OTHER else "own")
                snapshot(made.worker, workspace_id)
                fill_more(http, mark=MARK if workspace_id == OTHER else "own")
        with psycopg.connect(database.owner_url) as owner:
            # Else it would be by chance that a condition on it lets the other's rows through.
            owner.execute("update runs set changed_at = '2026-01-01', heard_at = '2026-01-01'")
            # Both asked for a snapshot, and chance gave both jobs the same id.
            owner.execute("set session_replication_role = replica")
            owner.execute(
                "insert into jobs.jobs (workspace_id, job_id, job_key, kind)"
                " select workspace_id, %s, 'asked', 'snapshot' from workspaces",
                [JOB],
            )
            ask_for_replays(owner)
            owner.execute("set session_replication_role = default")
            # The last row of a name wins where rows become an object.
            owner.execute(
                "update snapshots set updated_at = now() where workspace_id = %s", [OTHER]
            )
            owner.execute(
                "update api_keys k set key_id = replace(coalesce(k.name, w.name || ' admin'), ' ', '-')"
                " from workspaces w where w.workspace_id = k.workspace_id"
            )
        yield made


def ask_for_replays(owner):
    """Of the same ids in both workspaces: the other's run already, by a worker with a key."""
    for job_id in (PLAYED, PUT_BACK, CALLED_OFF, THEIRS):
        owner.execute(
            "insert into jobs.jobs (workspace_id, job_id, job_key, kind, status, attempts, args,"
            " args_hash, run_id) select workspace_id, %(job)s, 'replay:' || name || %(job)s,"
            " 'replay', case name when 'own' then 'queued' else 'running' end,"
            " (name = 'other')::int, jsonb_build_object('run_id', %(run)s::text, 'agent',"
            " case name when 'own' then name else %(mark)s end), sha256('asked'), %(job)s"
            " from workspaces where name = 'other' or %(job)s <> %(theirs)s",
            {"job": job_id, "run": ENDED, "mark": MARK, "theirs": THEIRS},
        )
    owner.execute(
        "insert into api_keys (key_hash, workspace_id, role, name, lent_to)"
        " select sha256(%s), workspace_id, 'writer', 'lent', %s from workspaces"
        " where name = 'other'",
        [b"lent", PLAYED],
    )


@contextmanager
def _lake(url, folder):
    lake = open_lake(url, open_storage(str(folder)))
    yield lake
    lake.catalog.engine.dispose()


def make_workspace(database, workspace_id):
    name = "other" if workspace_id == OTHER else "own"
    with psycopg.connect(database.owner_url) as owner:
        owner.execute(
            "insert into workspaces (workspace_id, name, placeholder_key) values (%s, %s, %s)",
            [workspace_id, name, name.encode().ljust(32)],
        )
    create_workspace(database.owner_url, name=name, key=KEYS[workspace_id])


def fill(http, *, mark):
    """Runs that have ended, so that the lake takes them up."""
    whole(http, ENDED, mark=mark, source="test:one", session="s", labels={"k": "v", "who": mark})
    whole(http, FORK, mark=mark, parent_run_id=ENDED, session="s")
    whole(http, SUPERSEDED, mark=mark, source="test:old")
    if mark == MARK:
        whole(http, ONLY_OTHER, mark=mark, supersedes=UNBORN, parent_run_id=ENDED, session="theirs")
    for data in (SHARED_BYTES, OTHER_BYTES) if mark == MARK else (SHARED_BYTES,):
        http.put(
            f"/artifacts/{sha256(data)}", content=data, headers={"content-type": f"text/{mark}"}
        )
    http.post("/keys", json={"role": "reader", "name": f"{mark} reader"})
    if mark == MARK:
        http.patch("/limits", json={"batch_events": 77, "streams": 7})


def fill_more(http, *, mark):
    """A run that goes on; in the other workspace it has ended. One with a gap; one that is due."""
    create(http, OPEN, mark=mark, session="s")
    create(http, CANCELLED, mark=mark)
    create(http, GAP, mark=mark)
    # Only the other's runs of these ids have said these messages.
    again = dict([SHARED, SPARE, PLAIN]) if mark == MARK else {}
    append(http, OPEN, [event("run_started", 1, {"input": mark})], again)
    new = dict([NEW]) if mark == MARK else {}
    append(http, CANCELLED, [event("run_started", 1, {"input": mark})], new)
    append(http, GAP, [event("run_started", 1, {"input": mark}), ended(2, w=2, late=3)])
    # Not in the lake yet, in either workspace.
    whole(http, DUE, mark=mark)
    create(http, FOLLOWED, mark=mark)
    if mark == MARK:
        append(http, OPEN, [event("step_started", 1, {}, step_id="t", writer="theirs")])
        append(http, OPEN, [ended(2, w=2, theirs=1)])
        append(http, CANCELLED, [event("step_started", 1, {}, step_id="t", writer="theirs")])
        append(http, FOLLOWED, [event("run_started", 1, {"input": mark})])
        whole(http, ONLY_OTHER_TOO, mark=mark, supersedes=UNBORN_TOO)
    else:
        append(http, FOLLOWED, [ended(1, w=1)])


def whole(http, wanted, *, mark, **header):
    create(http, wanted, mark=mark, **header)
    asked, answered = a_message(f"what of {mark}?"), SHARED
    call = a_model_call(
        2,
        messages=[asked[0]],
        outcome=answered[0],
        input_tokens=7,
        output_tokens=1,
        cost_usd=None if mark == MARK else 0.5,
    )
    # One that names bytes which only the other workspace ever sent.
    named = OTHER_BYTES if wanted == FORK else SHARED_BYTES
    made = event(
        "artifact_created",
        4,
        {
            "sha256": sha256(named),
            "media_type": f"text/{mark}",
            "size": 6,
            "entity_type": mark,
            "tags": [mark],
        },
    )
    events = [event("run_started", 1, {"input": mark}), *call, made, ended(5, w=5)]
    append(http, wanted, events, dict([asked, answered, SPARE, PLAIN]))


def ended(number, **writers):
    return event("run_ended", number, {"output": "x", "writers": writers}, status="done")


def create(http, wanted, *, mark, **header):
    answer = http.post(
        "/runs", json={"run_id": wanted, "name": f"{mark} run", "agent": mark} | header
    )
    assert answer.status_code in (200, 201), answer.text
    return answer


def append(http, wanted, events, bodies=None):
    content = b'{"events":[%b],"bodies":%b}' % (
        b",".join(map(wire, events)),
        json.dumps(bodies or {}).encode(),
    )
    return http.post(f"/runs/{wanted}/events", content=content)


# ---- the walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request: the route it is for, and what is sent."""

    method: str
    route: str
    path: str
    sent: dict[str, Any] = field(default_factory=dict)
    answers: bool = True  # whether its answer is the workspace's own

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def do(self, http):
        response = http.request(self.method, self.path, **self.sent)
        return response.status_code, said(response)


VOLATILE = re.compile(
    r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.]*(Z|[+-]\d\d:?\d\d)?|"\d{4}-\d\d-\d\d"'
    r"|wbk_[a-z0-9]{12}(_\w+)?|\d{9,}\.\d+|file://.*?/ws/|\d{5}-[0-9a-f-]{36}"
)
MASKED = {
    "request_id", "timestamp", "key_id", "replaced_by", "job_id", "next_cursor", "cursor", "secret",
    "prefix", "snapshot_id", "duration_ms",
}  # fmt: skip


def said(response):
    """Return what an answer says, without what differs each time."""
    raw = response.content
    if response.headers.get("content-type") == "application/vnd.apache.arrow.stream":
        raw = str(pa.ipc.open_stream(io.BytesIO(raw)).read_all().to_pylist()).encode()
    text = raw.decode("utf-8", "replace")
    try:
        return VOLATILE.sub("*", json.dumps(masked(json.loads(text, object_pairs_hook=pairs))))
    except ValueError:
        text = re.sub(r"datetime\.datetime\([^)]*\)+", "*", text)
        return VOLATILE.sub(
            "*", re.sub(r"retry: \d+\n|event: heartbeat\ndata: [^\n]*\n\n", "", text)
        )


def pairs(items):
    """Keep what a name says twice: a row too many shows in that alone."""
    return [list(item) for item in items]


def masked(value):
    if isinstance(value, list):
        if (
            len(value) == 2
            and isinstance(value[0], str)
            and value[0] in MASKED
            and value[1] is not None
        ):
            return [value[0], "*"]
        return [masked(one) for one in value]
    return value


def looks():
    """Every way to read, with ids of one's own, of both, and of the other alone."""
    runs = (ENDED, OPEN, FORK, GAP, ONLY_OTHER, NOBODY_S, ONLY_OTHER[:-1] + "f")
    arrow = {"headers": {"Accept": "application/vnd.apache.arrow.stream"}}
    for query in (
        "", "?limit=2", "?source=test:one", "?session=s", "?session=theirs", "?label=k:v",
        "?status=done", "?q=FOREIGN", "?q=shared", "?q=own", f"?parent_run_id={ENDED}",
        f"?name={MARK}%20run", "?sort=tokens", "?sort=-cost", "?health=gap", "?min_tokens=1",
    ):  # fmt: skip
        yield Step(method="GET", route="/v1/runs", path=f"/runs{query}")
    for one in runs:
        at = f"/runs/{one}"
        yield get("/v1/runs/{run_id}", at)
        yield get("/v1/runs/{run_id}/forks", f"{at}/forks")
        yield get("/v1/runs/{run_id}/manifest", f"{at}/manifest")
        for query in ("", "?columns=timeline", "?after=1&limit=2"):
            yield get("/v1/runs/{run_id}/events", f"{at}/events{query}")
            yield get("/v1/runs/{run_id}/events", f"{at}/events{query}", **arrow)
        yield get("/v1/runs/{run_id}/bodies", f"{at}/bodies")
        yield get("/v1/runs/{run_id}/bodies", f"{at}/bodies", **arrow)
    for one in (ENDED, FORK, ONLY_OTHER):
        yield get("/v1/runs/{run_id}/events/stream", f"/runs/{one}/events/stream")
    for data in (SHARED_BYTES, OTHER_BYTES, b"nobody's"):
        yield get("/v1/artifacts/{sha256}", f"/artifacts/{sha256(data)}")
    for query in ("", "?q=FOREIGN", "?limit=1"):
        yield get("/v1/sessions", f"/sessions{query}")
    for query in ("", "?limit=1", f"?run_id={ENDED}", f"?run_id={ONLY_OTHER}"):
        yield get("/v1/artifacts", f"/artifacts{query}")
    for session in ("s", "theirs", "nobody"):
        yield get("/v1/sessions/{session}", f"/sessions/{session}")
    yield from replays_looked_at()
    for path in ("/snapshots", "/keys", "/limits", "/usage", "/health", "/redaction"):
        yield get(f"/v1{path}", path)
    yield replace(get("/v1/ready", "/ready"), answers=False)
    yield replace(get("/metrics", "../metrics"), answers=False)
    yield replace(get("/openapi.json", "../openapi.json"), answers=False)


def replays_looked_at():
    for query in ("", "?limit=1", f"?run_id={ENDED}", "?status=running", "?status=queued"):
        yield get("/v1/replays", f"/replays{query}")
    for one in (PLAYED, THEIRS, JOB, NOBODY_S, f"{THEIRS}"[:-1] + "f"):
        yield get("/v1/replays/{job_id}", f"/replays/{one}")
    yield get("/v1/agents", "/agents")


def followed(http):
    """What the follower of a run that goes on is told while the server looks a few times."""
    heartbeats, told = 0, []
    with http.stream("GET", f"/runs/{FOLLOWED}/events/stream") as response:
        for line in response.iter_lines():
            heartbeats += line == "event: heartbeat"
            if line.startswith(("event:", "id:")) and "heartbeat" not in line:
                told.append(line)
            if heartbeats == 4 or line == "event: end":
                break
    return told


def get(route, path, **sent):
    return Step(method="GET", route=route, path=path, sent=sent)


def changes():
    """Every way to write, in an order in which each still finds something to change."""
    yield from making()
    yield from appending()
    yield from ending()
    yield from replaying()
    yield from keeping()


def step(method, route, path, **sent):
    return Step(method=method, route=f"/v1{route}", path=path, sent=sent)


def events(*some, bodies=None):
    body = {"bodies": bodies or {}}
    return b'{"events":[%b],%b' % (b",".join(map(wire, some)), json.dumps(body).encode()[1:])


def making():
    header = {"run_id": ENDED, "name": "own run", "agent": "own"}
    same = header | {"source": "test:one", "session": "s", "labels": {"k": "v", "who": "own"}}
    yield step("POST", "/runs", "/runs", json=same)
    yield step("POST", "/runs", "/runs", json=header | {"name": f"{MARK} run"})
    yield step("POST", "/runs", "/runs", json={"run_id": UNBORN})
    yield step("POST", "/runs", "/runs", json={"run_id": run_id(51), "supersedes": SUPERSEDED})
    for headers in (
        ({"run_id": UNBORN_TOO}, {"run_id": run_id(52)}),
        (same, header | {"name": f"{MARK} run"}),
    ):
        begun = json.loads(wire(event("run_started", 1, {"input": "own"})))
        several = [{"header": one, "events": [begun]} for one in headers]
        yield step("POST", "/batches", "/batches", json={"runs": several})
    for one in (ENDED, OPEN, ONLY_OTHER):
        yield step("PATCH", "/runs/{run_id}", f"/runs/{one}", json={"labels": {"new": "x"}})


APPENDING = "/runs/{run_id}/events"


def appending():
    their_body, _ = a_message(f"what of {MARK}?")
    for one in (OPEN, ONLY_OTHER, GAP):
        at = f"/runs/{one}/events"
        started = event("run_started", 1, {"input": "own"})
        forged = event("run_started", 1, {"input": MARK})
        more = event("step_started", 2, {"input": 2}, step_id="x")
        yield step("POST", APPENDING, at, content=events(started))
        yield step("POST", APPENDING, at, content=events(forged))
        yield step("POST", APPENDING, at, content=events(started, more))
        yield step("POST", APPENDING, at, content=events(more))
        # Bodies that only the other workspace ever sent: by the fast way and by the careful one.
        call = a_model_call(3, messages=[their_body])
        yield step("POST", APPENDING, at, content=events(*call))
        yield step("POST", APPENDING, at, content=events(more, *call))
        late = event("step_started", 1, {"input": 3}, step_id="y", writer="late")
        yield step("POST", APPENDING, at, content=events(late))
        yield step("POST", APPENDING, at, content=events(late, late))
        theirs = event("step_started", 1, {"input": 4}, step_id="z", writer="theirs")
        yield step("POST", APPENDING, at, content=events(late, theirs))
        asked, body = NEW
        call = a_model_call(3, messages=[asked])
        yield step("POST", APPENDING, at, content=events(*call, bodies={asked: body}))
        # A body that both have: by the fast way and, after a repeat, by the careful one.
        both, _ = SHARED
        call = a_model_call(5, messages=[both, asked])
        yield step("POST", APPENDING, at, content=events(call[0]))
        yield step("POST", APPENDING, at, content=events(*call))
        call = a_model_call(7, messages=[asked, both])
        yield step("POST", APPENDING, at, content=events(call[0]))
        # And one by the careful way alone, one by the fast way alone.
        more = a_model_call(8, messages=[SPARE[0]])
        yield step("POST", APPENDING, at, content=events(call[0], *more))
        more = a_model_call(10, messages=[PLAIN[0]])
        yield step("POST", APPENDING, at, content=events(more[0]))


def ending():
    # A run that both have open, each at another place.
    more = event("step_started", 2, {"input": 2}, step_id="x")
    yield step("POST", APPENDING, f"/runs/{CANCELLED}/events", content=events(more))
    # And one that would go on only after what the other's writer said.
    after = event("step_started", 2, {"input": 5}, step_id="z", writer="theirs")
    yield step("POST", APPENDING, f"/runs/{CANCELLED}/events", content=events(after))
    for one in (CANCELLED, OPEN, ENDED, ONLY_OTHER):
        yield step("POST", "/runs/{run_id}/heartbeat", f"/runs/{one}/heartbeat")
    for one in (OPEN, ENDED, ONLY_OTHER):
        yield step("POST", "/runs/{run_id}/end", f"/runs/{one}/end", json={"status": "done"})
    for one in (CANCELLED, ONLY_OTHER):
        yield step("POST", "/runs/{run_id}/cancel", f"/runs/{one}/cancel", json={})


def replaying():
    asked = {"run_id": ENDED, "key": "new"}
    yield step("POST", "/replays", "/replays", json=asked)
    yield step("POST", "/replays", "/replays", json=asked)
    yield step("POST", "/replays", "/replays", json=asked | {"mode": "cached"})
    # A run, and a key, that only the other workspace has.
    yield step("POST", "/replays", "/replays", json={"run_id": ONLY_OTHER, "key": "x"})
    yield step("POST", "/replays", "/replays", json={"run_id": ENDED, "key": f"other{THEIRS}"})
    for one in (CALLED_OFF, THEIRS, NOBODY_S):
        yield step("POST", "/replays/{job_id}/cancel", f"/replays/{one}/cancel")


def keeping():
    for data in (SHARED_BYTES, OTHER_BYTES):
        yield step("PUT", "/artifacts/{sha256}", f"/artifacts/{sha256(data)}", content=data)
    yield step("POST", "/snapshots", "/snapshots")
    yield step("POST", "/keys", "/keys", json={"role": "writer", "name": "new"})
    for key in (f"{MARK}-reader", "own-reader"):
        yield step("POST", "/keys/{key_id}/rotate", f"/keys/{key}/rotate")
    for key in (f"{MARK}-reader", "own-reader", "own-admin"):
        yield step("DELETE", "/keys/{key_id}", f"/keys/{key}")
    yield step("PATCH", "/limits", "/limits", json={"streams": 9})
    rules = [{"name": "own", "pattern": "what nobody says"}]
    yield step("PUT", "/redaction", "/redaction", json={"rules": rules})
