"""Replays that are asked of a server: how long they are waited for, and what they need."""

import time

PATIENCE_S = 120
OVER = ("done", "failed", "cancelled")
SLOW = "slow_agents:slow"


def until(said, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := said()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)
    return found


def over(store, job_id):
    return until(
        lambda: (row := store.replays.get(job_id))["status"] in OVER and row, f"the end of {job_id}"
    )


def running(store, job_id):
    until(lambda: store.replays.get(job_id)["status"] == "running", f"{job_id} begins")
