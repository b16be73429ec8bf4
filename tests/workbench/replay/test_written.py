"""What a certificate says of a new run is what it would say of its recording."""

import msgspec
from handmade import any_log
from hypothesis import given
from shelf import Shelf

from workbench import hashing, recording
from workbench.replay import certificate, written
from workbench.schema import Event, RunHeader


@given(any_log())
def test_a_new_run_and_its_recording_have_the_same_facts(log):
    store = Shelf()
    writer = store.writer(RunHeader())
    writer.append(log.events)
    run = store.run(writer.run_id)
    read = recording.read(run.event_log(), run.bodies())

    assert certificate.facts(written.read(run), run.info) == certificate.facts(read, run.info)


def test_another_event_gives_other_facts():
    store = Shelf()
    writer = store.writer(RunHeader())
    writer.append([Event(event_type="annotated", writer="w", writer_seq=n) for n in (1, 2)])
    run = store.run(writer.run_id)
    found = written.read(run)

    assert found.writers == {"w": 2}
    assert found.digests == [1, 2]
    writer.log[1] = hashing.sealed(msgspec.structs.replace(writer.log[1], name="other"))
    assert written.read(run.refresh()).log_root != found.log_root
