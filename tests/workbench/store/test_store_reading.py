"""A run's events as a server streams them: in columns, equal to what it writes as JSON."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from handmade import Log, short_run
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from polars.testing import assert_frame_equal

from workbench import frames, hashing
from workbench.schema import Event, RunHeader
from workbench.store import read
from workbench.store.export import export

START = datetime(2026, 1, 1, tzinfo=UTC)

# what CSV, records and Arrow each treat in a way of their own
_ODD = [
    "", " ", "a b", '"', '""', '\\"', "\\", "\\\\", "\\n", "\n", "\r\n", "\t", ",", ",,", "()", "(,)", ")",
    "null", "NULL", "\\N", "nan", "NaN", "1e5", "é", "日本", "🦊", "\u2028", 'a,b"c\\d\ne', "{}", "\x7f", "\x01",
]  # fmt: skip
odd_text = st.one_of(
    st.sampled_from(_ODD),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
counts = st.none() | st.integers(0, 2**63 - 1) | st.just(0)
amounts = st.none() | st.floats(0, allow_infinity=False, allow_nan=False) | st.just(5e-324)
times = st.none() | st.datetimes(
    datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis wants them so
    datetime(9999, 12, 28),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@st.composite
def events(draw, writer_seq):
    """An event whose every column may hold what is allowed in it."""
    said = {
        "event_type": draw(st.sampled_from(["step_started", "step_ended", "state_changed"])),
        "writer": "w",
        "writer_seq": writer_seq,
        "started_at": draw(times),
        "duration_ms": draw(amounts),
        "cost_usd": draw(amounts),
        "content_hash": draw(st.none() | st.integers(-(2**63), 2**63 - 1)),
        "signature": draw(st.none() | st.just("ab" * 32)),
        "status": draw(st.sampled_from([None, "ok", "error", "cancelled", "running"])),
        "kind": draw(st.sampled_from([None, "tool", "human"])),
        "payload": Raw(hashing.dumps({"x": draw(odd_text)})),
    }
    for name in ("step_id", "parent_step_id", "attempt_of", "name", "lane"):
        said[name] = draw(st.none() | odd_text)
    for name in ("input_tokens", "cache_read", "output_tokens", "ordinal"):
        said[name] = draw(counts)
    return hashing.sealed(Event(**said))


logs = st.integers(0, 6).flatmap(lambda n: st.tuples(*(events(i) for i in range(1, n + 1))))


def by_json(store, run_id, **query):
    """The frame of what the server writes as JSON, by another program than the one tested."""
    sent = store._wire.get_json(f"/v1/runs/{run_id}/events", **query)["events"]
    rows = []
    for event in sent:
        row = event | {"payload": hashing.dumps(event["payload"]).decode()}
        for name in ("started_at", "received_at"):
            if name in row:
                row[name] = datetime.fromisoformat(row[name])
        rows.append(row)
    columns = {name: [row.get(name) for row in rows] for name in frames.EVENTS}
    return pl.DataFrame(columns, schema=frames.EVENTS)


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(logs)
def test_columns_say_what_json_says_and_what_was_sent(store, log):
    run_id = store.create_run(RunHeader())
    store.append(run_id, log)

    found = store.events(run_id)

    assert dict(found.schema) == dict(frames.EVENTS)
    assert_frame_equal(found, by_json(store, run_id))
    sent = frames.from_events(log).drop("seq", "received_at")
    assert_frame_equal(found.drop("seq", "received_at"), sent)
    assert [hashing.event_digest(e) for e in frames.to_events(found)] == [e.digest for e in log]
    narrow = store.events(run_id, columns="timeline")
    assert_frame_equal(narrow, found.select(list(frames.TIMELINE)))
    failed = store.events(run_id, failed=True)
    assert_frame_equal(failed, found.filter(pl.col("status").is_in(["error", "cancelled"])))


@pytest.fixture
def long(store):
    """A run of 41 events."""
    log = Log()
    log.begin()
    for number in range(20):
        log.end(log.start("tool", "x", {"arguments": {"n": number}}), {"value": number})
    run_id = store.create_run(RunHeader())
    store.append(run_id, log.events)
    return run_id


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        ({"after": 0}, range(1, 42)),
        ({"after": 39}, range(40, 42)),
        ({"after": 41}, range(0)),
        ({"after": 2**63 - 1}, range(0)),
        ({"before": 3}, range(1, 3)),
        ({"before": 0}, range(0)),
        ({"before": 100}, range(1, 42)),
        ({"limit": 5}, range(1, 6)),
        ({"limit": 50}, range(1, 42)),
        ({"after": 10, "limit": 5}, range(11, 16)),
        ({"before": 11, "limit": 5}, range(6, 11)),
        ({"before": 3, "limit": 5}, range(1, 3)),
        ({"after": 10, "before": 20}, range(11, 20)),
        ({"after": 10, "before": 20, "limit": 3}, range(11, 14)),
        ({"after": 20, "before": 10}, range(0)),
    ],
)
def test_a_part_of_a_run_is_read_alike_from_server_and_folder(store, long, tmp_path, wanted, seqs):
    folder = read(export([store.run(long)], tmp_path / "x"))
    for columns in ("all", "timeline"):
        there = [one.events(long, columns=columns, **wanted) for one in (store, folder)]
        assert [frame["seq"].to_list() for frame in there] == [list(seqs)] * 2
        assert_frame_equal(*(frame.drop("received_at", strict=False) for frame in there))


def test_an_empty_run_has_all_columns(store):
    run_id = store.create_run(RunHeader())

    for columns, wanted in (("all", frames.EVENTS), ("timeline", frames.TIMELINE)):
        assert dict(store.events(run_id, columns=columns).schema) == dict(wanted)
    assert store.bodies(run_id) == {}
    assert store.run(run_id).steps.height == 0


# ---- steps without payloads


def test_steps_of_narrow_events_are_those_of_all(store):
    log = short_run()
    run_id = store.create_run(RunHeader())
    store.append(run_id, log.events, log.bodies)
    narrow, whole = store.run(run_id), store.run(run_id)
    whole.events  # noqa: B018 - read first, so that its steps are made of them

    assert "error" in narrow.steps["status"].to_list()
    assert_frame_equal(narrow.steps, whole.steps)
    assert "events" not in narrow.__dict__


def test_a_window_has_the_steps_of_its_events(store, long):
    run = store.run(long)

    inside = run.window(12, 31)

    assert inside["seq"].to_list() == list(range(12, 32, 2))
    assert_frame_equal(inside, run.steps.filter(pl.col("seq").is_between(12, 31)))
    assert run.window(13, 13)["ended_seq"].to_list() == [13]
    assert run.window(12, 12)["status"].to_list() == ["running"]


# ---- large payloads


def test_payloads_of_ten_megabytes_come_back(store):
    log = Log()
    log.begin()
    for letter in "ab":
        log.end(log.start("tool", "x", {"arguments": {}}), {"value": letter * 10 * 2**20})
    run_id = store.create_run(RunHeader())
    store.append(run_id, log.events)

    found = store.events(run_id)

    assert found["seq"].to_list() == [1, 2, 3, 4, 5]
    assert found["payload"].str.len_bytes().max() > 10 * 2**20
    assert [hashing.event_digest(e) for e in frames.to_events(found)] == found["digest"].to_list()
    assert_frame_equal(found, by_json(store, run_id))


def test_bodies_of_ten_megabytes_come_back(store):
    log = Log()
    log.begin()
    bodies = [{"role": "user", "content": letter * 10 * 2**20} for letter in "abc"]
    pool = {hashing.digest_of(body): body for body in bodies}
    run_id = store.create_run(RunHeader())
    store.append(run_id, log.events, pool)

    assert store.bodies(run_id) == pool


def test_times_keep_their_microseconds(store):
    run_id = store.create_run(RunHeader())
    at = [START + timedelta(microseconds=n) for n in (1, 999_999, -1)]
    store.append(
        run_id,
        [
            hashing.sealed(
                Event(event_type="state_changed", writer="w", writer_seq=n, started_at=t)
            )
            for n, t in enumerate(at, 1)
        ],
    )

    assert store.events(run_id)["started_at"].to_list() == at
