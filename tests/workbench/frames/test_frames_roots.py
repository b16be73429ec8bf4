import msgspec
from handmade import Log, any_log, short_run
from hypothesis import given

from workbench import frames, hashing


def roots(log: Log) -> tuple[str, str]:
    events = frames.from_events(log.events)
    return frames.log_root(events), frames.content_root(events)


def test_the_log_root_is_over_the_digests_by_writer():
    log = short_run()
    triples = [(e.writer, e.writer_seq, e.digest) for e in log.events]

    assert roots(log)[0] == hashing.log_root(triples)


def test_the_log_root_does_not_depend_on_the_order_of_arrival():
    log = short_run()
    backwards = frames.from_events(log.events[::-1])

    assert frames.log_root(backwards) == roots(log)[0]


def test_equal_runs_at_other_times_have_equal_content_roots_only():
    first, second = short_run(), short_run()
    second.events = [
        hashing.sealed(
            msgspec.structs.replace(
                event, writer="another", started_at=None, duration_ms=1.0, mode="exact"
            )
        )
        for event in second.events
    ]

    assert roots(first)[1] == roots(second)[1]
    assert roots(first)[0] != roots(second)[0]


def test_another_outcome_gives_another_content_root():
    def run(outcome):
        log = Log()
        log.begin()
        log.end(log.start("tool", "x", {}), outcome)
        return log

    assert roots(run({"value": 1}))[1] != roots(run({"value": 1.0}))[1]


def test_a_lane_is_signature_and_hash_of_what_came_back():
    log = Log()
    log.begin()
    ok = log.start("tool", "x", {"arguments": {}})
    log.end(ok, {"value": "é"})
    raised = {"class": "builtins:OSError", "message": "no", "args": []}
    failed = log.start("tool", "x", {"arguments": {}}, lane="root/a")
    log.end(failed, raised=raised)
    pending = log.start("tool", "x", {"arguments": {}})

    lanes = {
        "root": [
            (ok.signature, hashing.digest_of({"value": "é"})),
            (pending.signature, hashing.digest_of(None)),
        ],
        "root/a": [(failed.signature, hashing.digest_of(raised))],
    }
    assert frames.content_lanes(frames.calls(frames.from_events(log.events))) == lanes
    assert roots(log)[1] == hashing.content_root(lanes)


def test_calls_count_by_their_ordinal_and_not_by_their_arrival():
    log = Log()
    log.begin()
    for number in range(3):
        log.end(log.start("tool", "x", {"n": number}), {"value": number})
    events = frames.from_events(log.events)
    arrived_backwards = events.with_columns(seq=10 - events["seq"]).sort("seq")

    assert frames.content_root(arrived_backwards) == frames.content_root(events)


@given(any_log())
def test_parallel_lanes_may_finish_in_any_order(log):
    events = frames.from_events(log.events)
    shuffled = events.sample(fraction=1.0, shuffle=True, seed=1)

    assert frames.content_root(shuffled) == frames.content_root(events)
