"""The tools of the three desks. They read the clock, make uuids and fail now and then."""

# ruff: noqa: TC002 - LangChain and pydantic read the annotations when they run

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import uuid4

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.prebuilt import InjectedState

from workbench.examples.support_desk.orders import OrderBook, order_book, order_view

Messages = Annotated[list[AnyMessage], InjectedState("messages")]
Customer = Annotated[str, InjectedState("customer")]

EFFECTS: dict[str, str] = {
    "hand_over": "pure",
    "look_up_order": "read",
    "list_orders": "read",
    "payment_history": "read",
    "track_parcel": "read",
    "issue_refund": "irreversible",
    "send_return_label": "write",
    "update_address": "write",
    "check_service_status": "read",
    "start_diagnostics": "write",
    "poll_diagnostics": "read",
    "open_ticket": "write",
}

OUTAGES = {
    "operational": ("operational",),
    "degraded": ("degraded", "recovering", "recovering", "operational"),
    "major_outage": ("major_outage", "major_outage", "degraded", "recovering"),
}
DONE = 100
TIMEOUTS = 0.85
FINDINGS = (
    "weak_signal",
    "weak_signal",
    "firmware_outdated",
    "firmware_outdated",
    "hardware_fault",
)


@tool
def hand_over(desk: Literal["billing", "technical", "policy"], reason: str) -> str:
    """Hand the customer over to a specialist desk."""
    return f"The {desk} desk has taken over: {reason}"


@tool
def look_up_order(order_id: str, messages: Messages, customer: Customer) -> dict[str, Any]:
    """Look up one order of this customer: status, items, dates and total."""
    book = _book(messages)
    return order_view(book, _order(book, order_id, customer))


@tool
def list_orders(messages: Messages, customer: Customer) -> list[dict[str, Any]]:
    """List all orders of this customer, the newest first."""
    book = _book(messages)
    query = "select * from orders where customer = ? order by placed_days"
    views = [order_view(book, order) for order in book.rows(query, customer)]
    keys = ("order_id", "status", "placed_on", "total")
    return [
        {key: view[key] for key in keys} | {"items": [i["name"] for i in view["items"]]}
        for view in views
    ]


@tool
def payment_history(
    order_id: str, messages: Messages, customer: Customer, config: RunnableConfig
) -> list[dict[str, Any]]:
    """Ask the payment provider for all captures, authorisations and refunds of an order."""
    _reach_gateway(config, busy=0.12)
    book = _book(messages)
    _order(book, order_id, customer)
    query = "select id, kind, amount, minutes from payments where order_id = ? order by minutes"
    paid = [row | {"currency": "EUR"} for row in book.rows(query, order_id)]
    query = "select id, 'refund' as kind, amount, booked_at from refunds where order_id = ?"
    return paid + [row | {"currency": "EUR"} for row in book.rows(query, order_id)]


@tool
def track_parcel(order_id: str, messages: Messages, customer: Customer) -> dict[str, Any]:
    """Ask the carrier where a parcel is."""
    order = _order(_book(messages), order_id, customer)
    if order["status"] in ("processing", "packed"):
        return {"order_id": order_id, "state": "label created", "scans": []}
    last_seen = _now() - timedelta(hours=random.uniform(2, 40))
    places = ("sorting centre", "regional depot", "delivery van")
    state = "delivered" if order["status"] == "delivered" else "in transit"
    scan = {"at": _stamp(last_seen), "place": random.choice(places)}
    return {"order_id": order_id, "state": state, "scans": [scan]}


@tool
def issue_refund(  # noqa: PLR0917 - the order is of no use, the model names its arguments
    order_id: str,
    amount: float,
    reason: str,
    messages: Messages,
    customer: Customer,
    config: RunnableConfig,
) -> dict[str, Any]:
    """Pay money back to the customer. This cannot be undone."""
    _reach_gateway(config, busy=0.04)
    book = _book(messages)
    _order(book, order_id, customer)
    booked = round(amount * 1.21, 2) if _setting(config, "ledger", "l-8") == "l-9" else amount
    refund = (f"RF-{uuid4().hex[:8].upper()}", order_id, booked, reason, _stamp(_now()))
    book.rows("insert into refunds values (?, ?, ?, ?, ?)", *refund)
    names = ("refund_id", "order_id", "amount", "reason", "booked_at")
    return dict(zip(names, refund, strict=True)) | {"currency": "EUR", "arrives_in_days": "3-5"}


@tool
def send_return_label(order_id: str, messages: Messages, customer: Customer) -> dict[str, Any]:
    """Mail a prepaid return label for an order."""
    book = _book(messages)
    _order(book, order_id, customer)
    valid_until = (_now() + timedelta(days=14)).date().isoformat()
    label = f"RL-{uuid4().hex[:10].upper()}"
    book.rows("insert into labels values (?, ?, ?)", label, order_id, valid_until)
    return {"label": label, "order_id": order_id, "valid_until": valid_until}


@tool
def update_address(
    order_id: str, address: str, messages: Messages, customer: Customer
) -> dict[str, Any]:
    """Change the delivery address of an order that has not left the warehouse."""
    book = _book(messages)
    order = _order(book, order_id, customer)
    if order["status"] not in ("processing", "packed"):
        raise ToolException(f"order {order_id} is {order['status']}; the carrier must redirect it")
    book.rows("update orders set address = ? where id = ?", address, order_id)
    return {"order_id": order_id, "address": address, "changed_at": _stamp(_now())}


@tool
def check_service_status(
    service: Literal["sign-in", "device-cloud", "app", "checkout"], messages: Messages
) -> dict[str, Any]:
    """Ask the status page how a service is doing right now."""
    book = _book(messages)
    rows = book.rows("select * from services where name = ?", service)
    course, seen = (rows[0]["course"], rows[0]["seen"]) if rows else (_course(service), 0)
    statuses = OUTAGES[course]
    book.rows("insert or replace into services values (?, ?, ?)", service, course, seen + 1)
    status = statuses[min(seen, len(statuses) - 1)]
    return {
        "service": service,
        "status": status,
        "error_rate_percent": _error_rate(status),
        "checked_at": _stamp(_now()),
    }


@tool
def start_diagnostics(serial: str, messages: Messages) -> dict[str, Any]:
    """Start a remote check of a device; it takes a while, so poll for its result."""
    job = f"DG-{uuid4().hex[:8]}"
    _book(messages).rows("insert into jobs values (?, ?, 0)", job, serial)
    return {"job_id": job, "serial": serial, "state": "queued"}


@tool
def poll_diagnostics(job_id: str, messages: Messages) -> dict[str, Any]:
    """Ask how far a remote check is."""
    book = _book(messages)
    rows = book.rows("select * from jobs where id = ?", job_id)
    if not rows:
        raise ToolException(f"there is no diagnostics job {job_id}")
    progress = min(DONE, rows[0]["progress"] + random.randint(25, 60))
    book.rows("update jobs set progress = ? where id = ?", progress, job_id)
    answer = {"job_id": job_id, "progress": progress, "checked_at": _stamp(_now())}
    if progress < DONE:
        return answer | {"state": "running"}
    finding = random.choice(FINDINGS)
    return answer | {"state": "finished", "finding": finding, "signal_dbm": _signal(finding)}


@tool
def open_ticket(
    subject: str, details: str, priority: Literal["low", "normal", "high"], messages: Messages
) -> dict[str, Any]:
    """Open a ticket for a human colleague."""
    ticket = f"T-{uuid4().hex[:6].upper()}"
    opened = _stamp(_now())
    values = (ticket, subject, details, priority, opened)
    _book(messages).rows("insert into tickets values (?, ?, ?, ?, ?)", *values)
    return {"ticket": ticket, "priority": priority, "opened_at": opened}


BILLING: list[BaseTool] = [
    look_up_order,
    list_orders,
    payment_history,
    track_parcel,
    issue_refund,
    send_return_label,
    update_address,
    open_ticket,
]
TECHNICAL: list[BaseTool] = [
    look_up_order,
    list_orders,
    check_service_status,
    start_diagnostics,
    poll_diagnostics,
    open_ticket,
]
POLICY: list[BaseTool] = [look_up_order, list_orders, open_ticket]
ALL: list[BaseTool] = list({t.name: t for t in [hand_over, *BILLING, *TECHNICAL, *POLICY]}.values())
for _tool in ALL:
    _tool.handle_tool_error = True


def _book(messages: list[AnyMessage]) -> OrderBook:
    # LangGraph gives the first message a new id in every run: the name of this run's copy.
    return order_book(str(messages[0].id))


def _order(book: OrderBook, order_id: str, customer: str) -> dict[str, Any]:
    query = "select * from orders where id = ? and customer = ?"
    rows = book.rows(query, order_id, customer)
    if not rows:
        raise ToolException(f"customer {customer} has no order {order_id}")
    return rows[0]


def _setting(config: RunnableConfig, name: str, default: str) -> str:
    return str(config.get("configurable", {}).get(name, default))


def _reach_gateway(config: RunnableConfig, *, busy: float) -> None:
    if _setting(config, "payments", "eu-1") == "eu-2" and random.random() < TIMEOUTS:
        raise TimeoutError("payments.eu-2.larkfield.example did not answer within 10 s")
    if random.random() < busy:
        raise ConnectionError("payments.eu-1.larkfield.example reset the connection")


def _course(service: str) -> str:
    weights = (2, 5, 3) if service == "sign-in" else (16, 3, 1)
    return random.choices(list(OUTAGES), weights)[0]


def _error_rate(status: str) -> float:
    top = {"operational": 0.4, "recovering": 6.0, "degraded": 22.0, "major_outage": 88.0}[status]
    return round(random.uniform(top / 2, top), 2)


def _signal(finding: str) -> int:
    return -random.randint(76, 88) if finding == "weak_signal" else -random.randint(48, 70)


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
