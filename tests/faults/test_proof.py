"""The proof itself: each way to spoil a log is seen, and an unspoilt one is not blamed."""

from __future__ import annotations

import random

import psycopg
import pytest
from plays import Play, end_all
from proof import Known, check, check_walls, snapshot
from running import _database, make_workspace

_HERE = "workspace_id = %(w)s and run_id = %(r)s"
_SPOILS = {
    "a byte of a payload": (
        (
            f"update events set payload = set_byte(payload, length(payload) - 2,"
            f" get_byte(payload, length(payload) - 2) # 1) where {_HERE} and seq = 7"
        ),
        "seq 7 has not the digest",
    ),
    "a column": (
        f"update events set name = 'other' where {_HERE} and seq = 7",
        "seq 7 has not the digest",
    ),
    "a digest": (
        f"update events set digest = sha256('x') where {_HERE} and seq = 7",
        "was stored as another event than was sent",
    ),
    "a dropped event": (f"delete from events where {_HERE} and seq = 7", "seq is not 1 to"),
    "a dropped last event": (
        f"delete from events where {_HERE} and event_type = 'run_ended'",
        "was acknowledged and is not stored",
    ),
    "an event twice": (
        (
            "alter table events drop constraint events_writer_key;"
            " create temporary table t as select * from events"
            f" where {_HERE} and seq = 7; update t set seq = (select next_seq from runs where {_HERE});"
            " insert into events select * from t"
        ),
        "is stored 2 times",
    ),
    "two events swapped": (
        (
            "alter table events drop constraint events_key; update events e set seq = 15 - seq"
            f" where {_HERE} and seq in (7, 8)"
        ),
        "was acknowledged as",
    ),
    "a body": (
        (
            f"delete from messages where workspace_id = %(w)s and digest = any("
            f"select unnest(digests) from shared_messages where {_HERE})"
        ),
        "which is not stored",
    ),
    "a body of its own": (f"delete from messages where {_HERE}", "which the run lacks"),
    "a body's link": (f"delete from shared_messages where {_HERE}", "which the run lacks"),
    "a sum": (f"update runs set tool_calls = tool_calls + 1 where {_HERE}", "the run's tool_calls"),
    "the next number": (
        (
            "alter table runs drop constraint runs_contiguous;"
            f" update runs set next_seq = next_seq + 1 where {_HERE}"
        ),
        "the run's next_seq",
    ),
    "a writer's place": (
        f"update writers set last_seq = last_seq - 1 where {_HERE}",
        "and delivered",
    ),
    "what was announced": (
        f"update writers set final_seq = final_seq + 1 where {_HERE}",
        "announced were",
    ),
    "the health": (f"update runs set health = 'gap' where {_HERE}", "health is gap"),
}


@pytest.fixture(scope="module")
def play(stack):
    """A run of two writers that nothing befell; some of its messages another run said before."""
    elder = Play(stack=stack, servers=[stack.server()], rng=random.Random(2))
    elder.start(1, total=40)
    end_all(elder)
    made = Play(stack=stack, servers=[stack.server()], rng=random.Random(1))
    made.start(2, total=40)
    end_all(made)
    return made


def test_a_log_that_nothing_befell_is_not_blamed(play):
    assert play.look(complete=True) == []


@pytest.mark.parametrize("name", _SPOILS)
def test_a_spoilt_log_is_seen(stack, play, name):
    sql, expected = _SPOILS[name]
    facts = {"w": stack.workspace.workspace_id, "r": play.run_id}
    with snapshot(stack.owner_url) as spoilt:
        for statement in sql.split(";"):
            assert spoilt.execute(statement, facts).rowcount != 0
        found = check(spoilt, *facts.values(), known=play.known, complete=True)
        spoilt.rollback()
    assert any(expected in text for text in found), found


def test_what_was_never_sent_or_never_acknowledged_is_seen(stack, play):
    place = ("w0", 5)
    for known, expected in (
        (Known(sent=_without(play.known.sent, place), acknowledged=play.known.acknowledged),
         "was stored and never sent"),
        (Known(sent=play.known.sent, acknowledged=_without(play.known.acknowledged, place)),
         "are stored"),
        (Known(sent=play.known.sent, acknowledged=play.known.acknowledged | {place: 1_000}),
         "was acknowledged as 1000"),
    ):  # fmt: skip
        with snapshot(stack.owner_url) as connection:
            found = check(
                connection, stack.workspace.workspace_id, play.run_id, known=known, complete=True
            )
        assert any(expected in text for text in found), found


def _without(known, place):
    return {key: value for key, value in known.items() if key != place}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("alter table events no force row level security", "events has no wall"),
        ("drop policy workspace_only on writers", "writers has no wall"),
        ("alter policy workspace_only on runs using (true)", "runs answers without a workspace"),
        ("create policy more on messages using (false)", None),
        ("create policy none on events as restrictive using (false)", "events shows 0 rows"),
    ],
)
def test_a_broken_wall_is_seen(machine, play, sql, expected):
    with _database(machine.postgres) as database:
        made = make_workspace(database, "walled")
        with psycopg.connect(database.owner_url) as owner:
            owner.execute(
                "insert into runs (workspace_id, run_id, header_hash) values (%s, %s, '')",
                [made.workspace_id, made.workspace_id],
            )
            owner.execute(
                "insert into events (workspace_id, run_id, seq, writer_seq, received_at, version,"
                " event_type, writer, digest, payload) values"
                " (%s, %s, 1, 1, now(), 1, 'chunk', 'w', sha256(''), '')",
                [made.workspace_id, made.workspace_id],
            )
            owner.execute(sql)
        found = check_walls(database.owner_url, database.app_url, made.workspace_id)
    assert any(expected in text for text in found) if expected else found == []
