"""The first wall alone: as a role that no policy binds, each query keeps to its own workspace.

Every condition on the workspace in every named query and function is taken away in turn, and the
walk over all routes has to notice.
"""

import itertools
import re
from contextlib import contextmanager
from hashlib import sha256
from importlib import resources

import httpx
import psycopg
import pytest
import walk
from workbench_server.migrate import own_migrations
from workbench_server.queries import queries
from workbench_server.worker import replaying
from workbench_server.worker import snapshot as snapshots
from workbench_server.worker.snapshot import run_job

pytestmark = pytest.mark.slow

CONDITION = re.compile(
    r"\b(?:\w+\.)?workspace_id = "
    r"(?:%\(workspace_id\)s|\w+\.workspace_id|workspace\b|here\b|w\b"
    r"|current_setting\('workbench\.workspace'(?:::text)?\)::uuid)"
)
FILES = sorted(
    file.name.removesuffix(".sql")
    for file in (resources.files("workbench_server") / "sql").iterdir()
    if file.name.endswith(".sql")
)


# ---- the walk


@pytest.fixture(scope="module")
def databases(postgres):
    from running import _database

    patch = pytest.MonkeyPatch()
    patch.setenv("WORKBENCH_LIVE_POLL_S", "0.02")
    patch.setenv("WORKBENCH_LIVE_HEARTBEAT_S", "0.1")
    with _database(postgres) as alone, _database(postgres) as beside:
        yield alone, beside
    patch.undo()


@pytest.fixture(scope="module")
def alone(databases, postgres, tmp_path_factory):
    """What the workspace is answered, and what the lake holds, when there is no other."""
    folder = tmp_path_factory.mktemp("alone")
    with walk.world(databases[0], postgres, folder, with_other=False) as world:
        return Seen(looks=look(world), changes=change(world), lake=lake_of(world))


@pytest.fixture(scope="module")
def beside(databases, postgres, tmp_path_factory):
    """The app with both workspaces, and a way back to how they were."""
    folder = tmp_path_factory.mktemp("beside")
    with walk.world(databases[1], postgres, folder, with_other=True) as world:
        saved = Saved(world)
        yield world, saved


class Seen(dict):
    __getattr__ = dict.__getitem__


def look(world):
    """Each reading step and its answer."""
    with world.as_(walk.OWN) as http:
        return {(str(step), str(step.sent)): step.do(http) for step in walk.looks()}


def change(world):
    """The answers to all writing steps, and what is there to read afterwards."""
    with world.as_(walk.OWN) as http:
        done = [(str(step), step.do(http)) for step in walk.changes()]
    # What the server itself wrote has other times, and so other hashes.
    after = {
        key: (status, re.sub("[0-9a-f]{64}", "#", text))
        for key, (status, text) in look(world).items()
    }
    return done, after


def lake_of(world):
    """Let the worker write what is due, and return what the lake then holds."""
    run_job(world.worker, walk.OWN, job_id=walk.JOB)
    tables = {}
    for name in ("runs", "events", "messages"):
        rows = world.worker.lake.table(walk.OWN, name).scan().to_arrow().to_pylist()
        kept = [{k: v for k, v in row.items() if not k.endswith("_at")} for row in rows]
        tables[name] = sorted(re.sub(r"[0-9a-f]{64}|\d{9,}\.\d+", "#", str(row)) for row in kept)
    tables["replays"] = list(played(world.worker))
    with psycopg.connect(world.owner_url) as owner:
        tables["words"] = owner.execute(
            "select run_id, seq, tsv from messages_text where workspace_id = %s"
            " order by run_id, seq",
            [walk.OWN],
        ).fetchall()
    return tables


def played(worker):
    """Do all that a worker does to the rows of replays, and give what it is told."""
    said = {"staged": "s", "result_artifact": "r", "result": "{}", "progress": "{}"}
    key = {"key_id": "lent-here", "prefix": "p", "key_hash": sha256(b"lent here").digest()}
    steps = [
        (walk.PLAYED, "claim", {}),
        (walk.PLAYED, "lend_key", key | {"lasts_s": 60.0}),
        (walk.PLAYED, "beat", {"progress": "{}"}),
        (walk.PLAYED, "stage", said),
        (walk.PLAYED, "take_back_key", {}),
        (walk.PLAYED, "finish", {"status": "done", "error": None}),
        (walk.PUT_BACK, "claim", {}),
        (walk.PUT_BACK, "put_back", {}),
        (walk.THEIRS, "claim", {}),
    ]
    for job_id, query, facts in steps:
        key = {"workspace_id": walk.OWN, "job_id": job_id, "attempt": 1}
        yield query, replaying._run(worker, query, key | facts)


# ---- the way back


def tenant_tables(owner):
    """Every table whose rows belong to workspaces, in any schema."""
    rows = owner.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace_id'"
        " where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('saved')"
        " order by 1, 2"
    ).fetchall()
    return [f"{schema}.{table}" for schema, table in rows]


class Saved:
    """A copy of all rows, and of where the lake stood; tells if the other's changed; puts all back."""

    def __init__(self, world):
        self.url, self.keys = world.owner_url, world.app.state.keys
        with psycopg.connect(self.url) as owner:
            owner.execute("create schema saved")
            self.tables = [*tenant_tables(owner), "jobs.procrastinate_jobs", "lake.iceberg_tables"]
            for table in self.tables:
                # The other's rows come first, but where rows become an object and the last wins.
                order = {
                    "jobs.procrastinate_jobs": "id",
                    "lake.iceberg_tables": "table_name",
                    "public.snapshots": "workspace_id desc",
                }
                owner.execute(
                    f"create table saved.{table.partition('.')[2]} as"
                    f" select * from {table} order by {order.get(table, 'workspace_id')}"
                )
        self.restore()
        with psycopg.connect(self.url) as owner:
            self.others = self._others(owner)

    def _others(self, owner):
        return {
            table: owner.execute(
                f"select to_jsonb(t) - 'last_used_at' from {table} t"
                " where workspace_id = %s order by 1",
                [walk.OTHER],
            ).fetchall()
            for table in tenant_tables(owner)
        }

    def changed_others(self):
        with psycopg.connect(self.url) as owner:
            now = self._others(owner)
        return [table for table, rows in now.items() if rows != self.others[table]]

    def restore(self):
        with psycopg.connect(self.url) as owner:
            owner.execute("set session_replication_role = replica")
            owner.execute(f"truncate {', '.join(self.tables)} cascade")
            for table in self.tables:
                owner.execute(f"insert into {table} table saved.{table.partition('.')[2]}")
        # What the server remembers of a key speaks of the rows that were.
        for workspace_id in (walk.OTHER, walk.OWN):
            self.keys.forget(workspace_id=workspace_id)


# ---- what is changed in the queries

# Conditions that another one beside them makes good for; each would have to go together with it.
EQUIVALENT = {
    ("reading.events", 0): "it only measures how many rows fit; what comes is bound by another",
    ("rotate_key", 0): "a lock, and nothing else",
    ("rotate_key", 2): "the look before it found the key in this workspace",
    ("revoke_key", 0): "a lock, and nothing else",
    ("revoke_key", 1): "the change after it finds no such key in this workspace",
    ("revoke_key", 3): "the look before it found the key in this workspace",
    ("append_batches", 0): "a lock, and nothing else",
    ("worker.count_messages", 0): "a lock, and nothing else",
    (
        "worker.bodies",
        0,
    ): "more than is needed: what a run names is there, and a digest has one body",
    ("worker.bodies", 1): "a digest that a run is linked with is there, and has one body",
    (
        "worker.bodies",
        2,
    ): "more than is needed: what a run names is there, and a digest has one body",
    ("listing.says_often", 0): "asked of words said ten thousand times: see test_queries_of_runs",
    ("said_often", 0): "it only chooses between two ways to ask; each is bound by itself",
}
OF_WORKERS = {"lend_key", "take_back_key"}
EVERYWHERE = {
    "create_workspace": "the owner's alone; a workspace is what it makes",
    "workspaces_with_work": "goes through every workspace, for the worker; returns ids alone",
    "sweep_runs": "goes through every workspace, for the worker",
    "backlog": "goes through every workspace; returns sums alone",
}


def mutants_of(text):
    """Each condition of a text, and the text without it."""
    for number, found in enumerate(CONDITION.finditer(text)):
        yield number, found.group(), f"{text[: found.start()]}true{text[found.end() :]}"


def all_queries():
    for file in FILES:
        for name, text in queries(file).items():
            yield file, name, text.decode()


QUERY_MUTANTS = [
    pytest.param(file, name, number, id=f"{file}.{name}-{number}")
    for file, name, text in all_queries()
    for number, _, _ in mutants_of(text)
]


@contextmanager
def changed_query(file, name, text):
    known = queries(file)
    before = known[name]
    known[name] = text.encode()
    try:
        yield
    finally:
        known[name] = before


FUNCTIONS = sorted(
    {
        name
        for text in own_migrations().values()
        for name in re.findall(r"create (?:or replace )?function (?:\w+\.)?(\w+)", text)
    }
    - EVERYWHERE.keys()
)


def definition_of(url, name):
    with psycopg.connect(url) as owner:
        query = "select pg_get_functiondef(oid) from pg_proc where proname = %s"
        ((definition,),) = owner.execute(query, [name]).fetchall()
    return definition


@contextmanager
def changed_function(url, before, changed):
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(changed)
        try:
            yield
        finally:
            owner.execute(before)


# ---- the tests

IGNORED = {str(step) for step in walk.looks() if not step.answers}


def differences(expected, found):
    """Each step that was answered otherwise, with both answers."""
    return [
        (key, expected[key], found.get(key))
        for key in expected
        if expected[key] != found.get(key) and key[0] not in IGNORED
    ]


def assert_nothing_of_the_other(answers):
    for step, (_, text) in answers:
        assert str(walk.OTHER) not in text, step
        if walk.MARK not in str(step):
            assert walk.MARK not in text, step


def test_the_walk_takes_every_route(beside):
    world, _ = beside
    with world.as_(walk.OWN) as http:
        described = http.get("../openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, methods in described.items() for method in methods}
    served |= {("GET", "/openapi.json")}
    steps = [*walk.looks(), *walk.changes()]
    assert served == {(step.method, step.route) for step in steps}


def test_a_workspace_is_answered_as_if_it_were_alone(alone, beside):
    world, _ = beside
    found = look(world)
    assert differences(alone.looks, found) == []
    assert_nothing_of_the_other(found.items())
    assert {status for status, _ in found.values()} >= {200, 404}


def test_no_change_reaches_the_other_workspace(alone, beside):
    world, saved = beside
    try:
        done, after = change(world)
        expected, expected_after = alone.changes
        unlike = [pair for pair in zip(expected, done, strict=True) if pair[0] != pair[1]]
        assert not unlike, "\n".join(map(str, unlike))
        unlike = differences(expected_after, after)
        assert not unlike, "\n".join(map(str, unlike))
        assert saved.changed_others() == []
        assert lake_of(world) == alone.lake
        assert saved.changed_others() == []
    finally:
        saved.restore()


@pytest.mark.parametrize(("file", "name", "number"), QUERY_MUTANTS)
def test_a_query_without_its_condition_is_noticed(alone, beside, file, name, number):
    condition, changed = list(mutants_of(queries(file)[name].decode()))[number][1:]
    with changed_query(file, name, changed):
        noticed = is_noticed(alone, *beside, lake=file in ("worker", "replaying"))
    equivalent = (f"{file}.{name}", number) in EQUIVALENT
    assert noticed != equivalent, f"{file}.{name} without {condition}:\n{changed}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_without_its_condition_is_noticed(alone, beside, name):
    world, saved = beside
    definition = definition_of(world.owner_url, name)
    unlike = []
    for number, condition, changed in mutants_of(definition):
        with changed_function(world.owner_url, definition, changed):
            noticed = is_noticed(alone, world, saved, lake=name in OF_WORKERS)
        if noticed == ((name, number) in EQUIVALENT):
            unlike.append(f"{number}: {condition} in\n{changed}")
    assert not unlike, "\n".join(unlike)


def is_noticed(alone, world, saved, *, lake):
    """Whether the walk sees a difference, or the other workspace was changed."""
    if is_look_unlike(alone, world):
        return True
    try:
        with claims_at_most(20):
            return is_change_unlike(alone, world, saved, lake=lake)
    except (httpx.HTTPError, ValueError, LookupError, psycopg.Error, _TooOften):
        return True
    finally:
        saved.restore()


def is_change_unlike(alone, world, saved, *, lake):
    done, after = change(world)
    if done != alone.changes[0] or saved.changed_others():
        return True
    if differences(alone.changes[1], after):
        return True
    return lake and (lake_of(world) != alone.lake or bool(saved.changed_others()))


class _TooOften(Exception):
    """A worker that finds the other's runs again and again would never come to an end."""


@contextmanager
def claims_at_most(most):
    """Let the worker claim runs no more often than that."""
    claim, claims = snapshots._claim, itertools.count(1)

    def bounded(connection, workspace_id):
        if next(claims) > most:
            raise _TooOften
        return claim(connection, workspace_id)

    snapshots._claim = bounded
    try:
        yield
    finally:
        snapshots._claim = claim


def is_look_unlike(alone, world):
    """Whether any reading step is answered otherwise; it ends at the first."""
    try:
        with world.as_(walk.OWN) as http:
            unlike = any(
                step.answers and step.do(http) != alone.looks[str(step), str(step.sent)]
                for step in walk.looks()
            )
            return unlike or is_told_the_end(world)
    except httpx.HTTPError:
        return True


def is_told_the_end(world):
    """Whether the follower of a run is told the end of the other's run of the same id."""
    with world.as_(walk.OTHER) as http:
        return "event: end" in walk.followed(http)


def test_every_query_of_a_tenant_s_table_has_a_condition_for_it(beside):
    world, _ = beside
    with psycopg.connect(world.owner_url) as owner:
        tables = "|".join(table.partition(".")[2] for table in tenant_tables(owner))
    mention = re.compile(rf"\b(?:from|join|update|delete from)\s+(?:jobs\.)?({tables})\b")
    short = {
        f"{file}.{name}"
        for file, name, text in all_queries()
        if len(mention.findall(text)) > len(CONDITION.findall(text))
    }
    assert short == set()
