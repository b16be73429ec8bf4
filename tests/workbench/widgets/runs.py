"""Steps frames to draw: made up, from a seed."""

import numpy as np
import polars as pl

from workbench.frames import STEPS


def frame(rows):
    """A frame with every column of `run.steps` from dicts that name some of them."""
    blank = dict.fromkeys(STEPS)
    return pl.DataFrame([blank | row for row in rows], schema=dict(STEPS))


def step(seq, start, took, **more):
    """One step; a tool that went well unless said otherwise."""
    given = {"kind": "tool", "name": "look_up", "lane": "agent", "status": "ok", "ordinal": seq}
    times = {"start_ms": start, "duration_ms": took}
    return given | times | {"seq": seq, "ended_seq": seq, "step_id": f"s{seq}"} | more


def desk():
    """A short run: turns, parallel tools, a retry, errors, a refund."""
    rows, at = [], 0.0

    def add(took, kind, name, lane, *, wait=True, **more):
        nonlocal at
        rows.append(step(len(rows) * 2 + 2, at, took, kind=kind, name=name, lane=lane, **more))
        at += took if wait else 0

    def model(took, lane="agent"):
        tokens = {"input_tokens": 1500 + 40 * len(rows), "output_tokens": 120}
        add(took, "model", "desk-small", lane, cost_usd=0.002 + took / 1e6, effect="read", **tokens)

    add(900, "human", "customer", "user")
    model(1500)
    add(1100, "retriever", "policies", "policy")
    model(2300, "policy")
    for number, (took, status) in enumerate(
        [(700, "ok"), (1300, "ok"), (250, "ok"), (400, "error")]
    ):
        lane = f"tools[{number}]"
        add(took, "tool", "find_order", lane, wait=False, status=status, effect="read")
    at += 1500
    model(1600)
    add(2900, "tool", "issue_refund", "tools[0]", effect="irreversible")
    model(1400)
    for status in ("error", "error", "ok"):
        add(
            600,
            "tool",
            "poll_shipment",
            "tools[0]",
            status=status,
            error="timed out",
            effect="read",
        )
        model(1800)
    add(40, "validator", "amount", "agent")
    model(2600)
    return frame(rows)


def batch(n, seed=3):
    """A long run: a planner and four workers, failures, and a last step far out."""
    random = np.random.default_rng(seed)
    kinds = np.array(["model", "tool", "retriever", "planner", "validator", "safety"])
    kind = random.choice(kinds, n, p=[0.48, 0.36, 0.03, 0.05, 0.06, 0.02])
    lane = random.integers(0, 5, n)
    took = random.lognormal(6.2, 0.9, n)
    took[kind == "validator"] /= 20
    clock = np.zeros(n)
    for number in range(5):
        mine = np.flatnonzero(lane == number)
        pauses = random.exponential(120, len(mine)) + (random.random(len(mine)) < 0.004) * 30_000
        clock[mine] = np.cumsum(took[mine] + pauses) - took[mine]
    order = np.argsort(clock, kind="stable")
    names = {"model": "desk-small", "retriever": "policies", "planner": "plan"}
    tools = ["find_order", "look_up", "issue_refund", "poll_shipment"]
    failed = random.random(n) < 0.002
    lanes = ["plan[0]", *(f"plan[0]/worker[{number}]" for number in range(4))]
    columns = {
        "seq": np.arange(1, n + 1) * 2,
        "ended_seq": np.arange(1, n + 1) * 2 + 1,
        "kind": kind[order],
        "name": [
            names.get(k) or (tools[i % 4] if k == "tool" else k) for i, k in enumerate(kind[order])
        ],
        "lane": [lanes[number] for number in lane[order]],
        "ordinal": np.arange(1, n + 1),
        "status": np.where(failed[order], "error", "ok"),
        "start_ms": clock[order],
        "duration_ms": took[order],
        "input_tokens": np.where(kind[order] == "model", 1200, None).tolist(),
        "output_tokens": np.where(kind[order] == "model", 90, None).tolist(),
        "cost_usd": np.where(kind[order] == "model", 0.0051, None).tolist(),
        "effect": ["read"] * n,
    }
    made = pl.DataFrame(columns, strict=False)
    missing = [pl.lit(None, dtype=t).alias(c) for c, t in STEPS.items() if c not in columns]
    return made.with_columns(missing).select(pl.col(c).cast(t) for c, t in STEPS.items())


def timeless(n=40):
    """A run of a source that records no times and no tokens."""
    rows = [
        step(
            i + 1, None, None, kind="model" if i % 2 else "tool", name="m" if i % 2 else f"t{i % 7}"
        )
        for i in range(n)
    ]
    return frame(rows)
