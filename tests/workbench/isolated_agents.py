"""Agents whose process is what is tested, each importable by its name.

They behave at home, where they are recorded, and misbehave away.
"""

import os
import signal
import threading

from replay_agents import ask

import workbench as wb

HOME = "WORKBENCH_TEST_HOME"
"""Set where agents are at home: no child is given it."""


def away():
    return HOME not in os.environ


def asked_twice(does):
    """Return an agent that does something away, between two calls."""

    def agent(given):
        first = ask("one")
        if away():
            does(given)
        return [first, ask("two")]

    return agent


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def waits(_):
    threading.Event().wait()


def prints(_):
    os.write(1, b"x" * 200_000)
    print("y" * 200_000, flush=True)


def closes(highest):
    os.closerange(3, highest)


def leaves_a_thread(_):
    threading.Thread(target=waits, args=[None]).start()


def exits(_):
    raise SystemExit(3)


def waits_for(path):
    """Wait until somebody who sees what was asked before makes a file."""
    while not os.path.exists(path):  # noqa: PTH110 - what is patched least
        threading.Event().wait(0.01)


killing = asked_twice(killed)
waiting = asked_twice(waits)
printing = asked_twice(prints)
closing = asked_twice(closes)
leaving = asked_twice(leaves_a_thread)
exiting = asked_twice(exits)
watched = asked_twice(waits_for)


def many(count):
    return sum(ask(number)["answer"] for number in range(count))


def lingering(_):
    """Take more than a second of real time, which no replay skips."""
    found = ask(0)
    threading.Event().wait(1.5)
    return [found, ask(1)]


@wb.call(effect="read")
def order_of_a_set():
    return 1


def hashing(_):
    """Return what depends on the seed of Python's hashes."""
    order_of_a_set()
    return hash("a word")
