import msgspec
from handmade import Log, any_log, short_run
from hypothesis import given

from workbench import frames, hashing, recording, schema


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


def test_a_log_that_no_store_has_numbered_yet_is_counted_and_has_its_roots():
    log = short_run()
    fresh = [msgspec.structs.replace(event, seq=None) for event in log.events]
    read = frames.recorded([frames.from_events(fresh)], {})

    assert (read.events, read.first_seq, read.last_seq) == (len(log.events), 0, 0)
    assert read.log_root == roots(log)[0]


def test_the_log_root_of_several_writers_is_the_same_read_in_pages():
    first, second = short_run(), short_run()
    beside = [
        hashing.sealed(msgspec.structs.replace(event, writer="beside")) for event in second.events
    ]
    mixed = [one for both in zip(first.events, beside, strict=True) for one in both]
    events = frames.from_events(mixed)
    read = frames.recorded(events.iter_slices(3), {})

    assert read.log_root == frames.log_root(events)
    assert read.writers == {mixed[0].writer: len(beside), "beside": len(beside)}
    assert read.events == len(mixed)


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


def test_a_lane_is_signature_and_hash_of_what_came_of_it():
    log = Log()
    log.begin()
    ok = log.start("tool", "x", {"arguments": {}})
    log.end(ok, {"value": "é"})
    raised = {"class": "builtins:OSError", "message": "no", "args": []}
    failed = log.start("tool", "x", {"arguments": {}}, lane="root/a")
    log.end(failed, raised=raised)
    pending = log.start("tool", "x", {"arguments": {}})

    def came(status, outcome=None, exception=None, pieces=None):
        return hashing.digest_of([status, outcome, exception, pieces])

    lanes = {
        "root": [
            (ok.signature, came("ok", {"value": "é"})),
            (pending.signature, came("running")),
        ],
        "root/a": [(failed.signature, came("error", exception=raised))],
    }
    assert roots(log)[1] == hashing.content_root(lanes)


def one_call(*chunks, outcome=None, raised=None, status="ok", ends=True):
    log = Log()
    log.begin()
    asked = log.start("model", "x", {"n": 1})
    for index, pieces in enumerate(chunks):
        log.add("chunk", schema.Chunk(index=index, pieces=pieces), step_id=asked.step_id)
    if ends:
        log.end(asked, outcome, raised=raised, status=status)
    return log


def test_what_came_of_a_call_is_all_of_it():
    raised = {"class": "a:B", "message": "", "args": []}
    runs = [
        one_call(ends=False),
        one_call(),
        one_call(status="cancelled"),
        one_call(outcome={"value": None}),
        one_call(outcome={"value": None}, raised=raised, status="error"),
        one_call(raised=raised, status="error"),
        one_call(["a", "b"], outcome={"value": "ab"}),
        one_call(["ab"], outcome={"value": "ab"}),
        one_call([], outcome={"value": "ab"}),
        one_call(outcome={"value": "ab"}),
    ]

    assert len({roots(log)[1] for log in runs}) == len(runs)


def test_when_the_pieces_of_a_stream_were_written_changes_nothing():
    def said(text, own):
        return {"$type": "message", "$value": {"id": own, "body": {"content": text}}}

    one = one_call([said("a", "1"), said("b", "2")], outcome={"value": "ab"})
    other = one_call([said("a", "3")], [said("b", "4")], outcome={"value": "ab"})

    assert roots(one)[1] == roots(other)[1]


@given(any_log())
def test_a_recording_and_its_frame_have_the_same_root(log):
    read = recording.read(log.events, log.bodies)

    assert roots(log) == (read.log_root, read.content_root)


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
