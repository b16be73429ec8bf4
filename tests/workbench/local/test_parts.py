"""A process of the stack by itself: how it is asked to end."""

import sys

import pytest
from local_homes import until

from workbench.local.parts import Part

# Takes its time to end, and says with its exit code how often it was asked to.
PROGRAM = """
import signal, sys, time
asked = 0
def count(*_):
    global asked
    asked += 1
    print("asked", flush=True)
signal.signal(signal.SIGTERM, count)
print("ready", flush=True)
while not asked:
    time.sleep(0.01)
until = time.monotonic() + 0.5
while time.monotonic() < until:
    time.sleep(0.01)
sys.exit(asked)
"""


@pytest.fixture
def part(tmp_path):
    one = Part(
        name="slow",
        log=tmp_path / "slow.log",
        launch=lambda _: ([sys.executable, "-c", PROGRAM], {}),
    )
    started(one, times=1)
    yield one
    one.end(patience_s=0)


def started(part, *, times):
    part.start()
    until(lambda: part.log.read_text().count("ready") == times)
    return part.process


def test_a_process_that_is_asked_to_end_is_let_finish(part):
    process = part.process
    part.ask_to_end()
    # else the second signal would melt into the first
    until(lambda: "asked" in part.log.read_text())
    part.end(patience_s=30)
    assert process.returncode == 1


def test_a_process_that_was_started_again_is_asked_again(part):
    part.end(patience_s=30)
    process = started(part, times=2)
    part.end(patience_s=30)
    assert process.returncode == 1
