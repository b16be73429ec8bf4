"""Agents that begin other processes, in every way Python has, and what these do."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import workbench as wb


@wb.call(effect="read")
def ask(what):
    return {"what": what, "by": os.getpid()}


@wb.call(effect="write")
def pay(what):
    return {"paid": what}


def twice(what):
    return [ask(what), pay(what)]


def joined(text, what):
    with wb.join(text):
        twice(what)


def joined_and_more(text, what):
    """Join, and begin one process more."""
    with wb.join(text):
        ask(what)
        wait_for(multiprocessing.get_context("fork").Process(target=twice, args=("grandchild",)))


def wait_for(*processes):
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    return [process.exitcode for process in processes]


def forked_by_multiprocessing(_):
    fork = multiprocessing.get_context("fork")
    made = [fork.Process(target=twice, args=(what,)) for what in ("one", "two")]
    return [ask("parent"), wait_for(*made), ask("parent")]


def spawned(_, method="spawn"):
    begin = multiprocessing.get_context(method)
    made = [begin.Process(target=joined, args=(wb.context(), what)) for what in ("one", "two")]
    return [ask("parent"), wait_for(*made), ask("parent")]


def spawned_by_a_server(_):
    return spawned(_, "forkserver")


CHILD = "import child_agents as c, workbench as wb\nwith wb.join():\n    c.twice('{}')"


def begun_by_subprocess(_):
    ask("parent")
    made = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD.format(what)],
            env=os.environ | {"WORKBENCH_CONTEXT": wb.context(), "PYTHONPATH": ":".join(sys.path)},
        )
        for what in ("one", "two")
    ]
    return [[process.wait(30) for process in made], ask("parent")]


def begun_in_a_line(_):
    begin = multiprocessing.get_context("spawn")
    return wait_for(begin.Process(target=joined_and_more, args=(wb.context(), "child")))


WAYS = (forked_by_multiprocessing, spawned, spawned_by_a_server, begun_by_subprocess)

# ---- those that end otherwise


def killed(ready):
    ask("child")
    pay("child")
    Path(ready).touch()
    time.sleep(60)


def kills_its_child(ready):
    process = multiprocessing.get_context("fork").Process(target=killed, args=(ready,))
    process.start()
    while not Path(ready).exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    return ask("parent")


def outlives(ready, go):
    ask("in time")
    Path(ready).touch()
    while not Path(go).exists():
        time.sleep(0.01)
    ask("too late")


def leaves_its_child(given):
    ready, go, pids = given
    process = multiprocessing.get_context("fork").Process(target=outlives, args=(ready, go))
    process.start()
    while not Path(ready).exists():
        time.sleep(0.01)
    Path(pids).write_text(f"{process.pid}")
    LEFT.append(process)
    return ask("parent")


LEFT = []
