"""A small exported folder for reports: a desk that looks up a rule, pays back and answers.

Every run asks ``refund order 7`` unless said otherwise. `write` gives the store's folder and the
run ids by name.
"""

from datetime import UTC, datetime, timedelta

import msgspec

from workbench import hashing, store
from workbench.schema import CallEnded, CallStarted, Event, RunEnded, RunHeader, RunStarted
from workbench.store import export

START = datetime(2026, 11, 20, 6, tzinfo=UTC)
RULE = "A refund is due within 30 days.\nOnly what was paid is paid back."
FALSE_RULE = "A refund is due within 365 days.\nOnly what was paid is paid back."
HOSTILE = "</script><img src=https://evil.example/x onerror=alert(1)>"


def call(kind, name, *, request, outcome=None, error=None, took=20.0, effect="read", cost=None):
    """One call of a run: what was asked, and what came back or was raised."""
    raised = error and {"class": f"builtins:{error}", "message": f"{name} did not answer"}
    return {
        "kind": kind,
        "name": name,
        "request": request,
        "outcome": outcome,
        "exception": raised,
        "duration_ms": took,
        "effect": effect,
        "cost_usd": cost,
    }


class Desk:
    """Collects the message bodies of one run."""

    def __init__(self):
        self.bodies = {}

    def said(self, role, text, **more):
        body = {"role": role, "content": text} | more
        digest = hashing.digest_of(body)
        self.bodies[digest] = body
        return digest

    def calls(self, *, question, rule, paid, error=None, retries=0, effect="irreversible"):
        user = self.said("user", question)
        documents = [{"page_content": rule, "metadata": {"id": "refunds.md"}}]
        yield call(
            "retriever", "rules", request={"query": question}, outcome={"documents": documents}
        )
        asked = {"name": "pay", "id": "c1", "arguments": {"order": 7}}
        plan = self.said("assistant", "I pay it back.", tool_calls=[asked])
        yield call(
            "model",
            "small",
            request={"messages": [user], "model": "small"},
            outcome={"message": plan},
            cost=0.001,
        )
        for _ in range(retries):
            yield call(
                "tool",
                "pay",
                request={"arguments": {"order": 7}},
                error="TimeoutError",
                effect=effect,
            )
        if error:
            yield call(
                "tool", "pay", request={"arguments": {"order": 7}}, error=error, effect=effect
            )
            return
        result = self.said("tool", paid, name="pay", tool_call_id="c1")
        yield call(
            "tool",
            "pay",
            request={"arguments": {"order": 7}},
            outcome={"message": result},
            effect=effect,
        )
        answer = self.said("assistant", "It is paid back.")
        yield call(
            "model",
            "small",
            request={"messages": [user, plan, result], "model": "small"},
            outcome={"message": answer},
            cost=0.002,
        )


def add_run(
    folder,
    name,
    *,
    at,
    labels=None,
    question="refund order 7",
    rule=RULE,
    paid='{"paid": 12.5}',
    **more,
):
    """Write one run as an exported folder of its own."""
    desk = Desk()
    header = RunHeader(
        name=name, agent="shop.desk:agent", labels={"intent": "refund"} | (labels or {})
    )
    made = list(desk.calls(question=question, rule=rule, paid=paid, **more))
    events = list(_events(made, at=at, question=desk.said("user", question)))
    writer = export.writer(folder, header)
    writer.append(events, desk.bodies)
    writer.close()
    return writer.run_id


def _events(calls, *, at, question):
    number, clock = 0, at

    def event(event_type, body, **columns):
        nonlocal number
        number += 1
        payload = hashing.dumps(msgspec.to_builtins(body))
        return Event(
            event_type=event_type,
            writer="w",
            writer_seq=number,
            started_at=clock,
            payload=msgspec.Raw(payload),
            **columns,
        )

    yield event(
        "run_started",
        RunStarted(entry_point="shop.desk:agent", input={"messages": [question]}, pooled=True),
    )
    failed = None
    for i, one in enumerate(calls, start=1):
        shared = {
            "step_id": f"s{i}",
            "kind": one["kind"],
            "name": one["name"],
            "lane": "root",
            "ordinal": i,
            "quality": "full",
        }
        signature = hashing.signature_of(kind=one["kind"], name=one["name"], request=one["request"])
        yield event(
            "call_started",
            CallStarted(request=one["request"]),
            status="running",
            effect=one["effect"],
            order="declared",
            signature=signature,
            **shared,
        )
        clock += timedelta(milliseconds=one["duration_ms"])
        failed = one["exception"]
        content = hashing.content_hash(
            kind=one["kind"], name=one["name"], request=one["request"], outcome=one["outcome"]
        )
        yield event(
            "call_ended",
            CallEnded(outcome=one["outcome"], exception=failed),
            status="error" if failed else "ok",
            duration_ms=one["duration_ms"],
            cost_usd=one["cost_usd"],
            content_hash=content,
            **shared,
        )
    body = RunEnded(exception=failed, writers={"w": number + 1})
    yield event("run_ended", body, status="failed" if failed else "done")


def write(root):
    """Write nine ordinary runs and four incidents; return the folder and the ids by name."""
    plan = {
        f"ordinary {i}": {"question": f"refund order {i}, please", "labels": {"channel": "mail"}}
        for i in range(9)
    }
    plan |= {
        "good": {},
        "false rule": {"rule": FALSE_RULE, "labels": {"feedback": "complaint"}},
        "wrong sum": {"paid": '{"paid": 99.0}'},
        "time out": {"retries": 2, "error": "TimeoutError"},
        "hostile": {"paid": HOSTILE},
    }
    ids, root = {}, root / "parts"
    for i, (name, given) in enumerate(plan.items()):
        ids[name] = add_run(root / str(i), name, at=START + timedelta(minutes=i), **given)
    runs = [store.read(root / str(i)).run(run_id) for i, run_id in enumerate(ids.values())]
    return export.export(runs, root.parent / "store"), ids
