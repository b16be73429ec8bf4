"""What each role does next: tools to call, or words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.examples.support_desk import phrases, replies
from workbench.examples.support_desk.reading import DESK_OF, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.examples.support_desk.dice import Dice

Call = tuple[str, dict[str, Any]]
MOST_POLLS = 6
MOST_LOOKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The words of an answer and the tools it calls."""

    text: str = ""
    calls: tuple[Call, ...] = ()


def decide(reading: Reading, dice: Dice) -> Move:
    """Return the next move of the role that the instructions name."""
    for role, decision in ROLES.items():
        if f"You are the {role} desk" in reading.instructions:
            return decision(reading, dice)
    return Move(text=dice.pick(phrases.UNCONFIRMED))


def _front(reading: Reading, dice: Dice) -> Move:
    wanted = list(dict.fromkeys(DESK_OF[intent] for intent in reading.intents)) or ["policy"]
    open_desks = [desk for desk in wanted if desk not in reading.desks]
    if not open_desks:
        return Move(text=replies.reply(reading, dice))
    desk = open_desks[0]
    reason = dice.pick(phrases.HAND_OVER_REASONS[desk])
    return Move(text=dice.pick(phrases.THINKING), calls=(("hand_over", _args(desk, reason)),))


def _args(desk: str, reason: str) -> dict[str, Any]:
    return {"desk": desk, "reason": reason}


# ---- billing


def _billing(reading: Reading, dice: Dice) -> Move:
    if reading.tried("open_ticket") or reading.tried("issue_refund"):
        return _note(reading, dice)
    order_id = reading.order_id
    if order_id is None:
        return _without_order(reading, dice)
    if not reading.careful:
        return _fast_billing(reading, dice, order_id)
    missing = _missing_facts(reading, order_id)
    if missing:
        return _ask(missing, dice)
    return _settle(reading, dice, order_id)


def _without_order(reading: Reading, dice: Dice) -> Move:
    if reading.tried("list_orders"):
        return _ticket(reading, dice, "The customer names no order.")
    return _ask([("list_orders", {})], dice)


def _missing_facts(reading: Reading, order_id: str) -> list[Call]:
    needed = ["look_up_order"]
    if reading.wants("refund", "double_charge"):
        needed.append("payment_history")
    if reading.wants("parcel"):
        needed.append("track_parcel")
    return [(name, {"order_id": order_id}) for name in needed if not reading.tried(name)]


def _ask(calls: list[Call], dice: Dice) -> Move:
    """Ask for everything at once, or now and then one after the other."""
    chosen = calls if dice.chance(0.75) else calls[:1]
    return Move(text=dice.pick(phrases.THINKING), calls=tuple(chosen))


def _settle(reading: Reading, dice: Dice, order_id: str) -> Move:
    if reading.failed("look_up_order"):
        return _ticket(reading, dice, "The order cannot be read.")
    order = reading.results("look_up_order")[-1]
    if reading.wants("double_charge"):
        return _duplicate(reading, dice, order_id)
    if reading.wants("refund"):
        return _refund(reading, dice, order)
    if reading.wants("address"):
        return _readdress(reading, dice, order)
    return _note(reading, dice)


def _duplicate(reading: Reading, dice: Dice, order_id: str) -> Move:
    if reading.failed("payment_history"):
        return _ticket(reading, dice, "The payment provider does not answer.")
    if "Charged twice" not in reading.excerpts:
        return _ticket(reading, dice, "I find no rule about double charges.")
    captures = [p for p in reading.results("payment_history")[-1] if p["kind"] == "capture"]
    if not captures[1:]:
        return _note(reading, dice)
    return _pay_back(order_id, captures[1]["amount"], "duplicate charge", dice)


def _refund(reading: Reading, dice: Dice, order: dict[str, Any]) -> Move:
    if reading.failed("payment_history"):
        return _ticket(reading, dice, "The payment provider does not answer.")
    rule = reading.excerpts.get("Refunds", "")
    window = re.search(r"within (\d+) days of delivery", rule)
    if window is None:
        return _ticket(reading, dice, "I find no rule about refunds.")
    if order["days_since_delivery"] is None or order["days_since_delivery"] > int(window[1]):
        return _ticket(reading, dice, f"Outside the {window[1]} days of the rule.")
    courtesy = re.search(r"full order value plus (\d+) percent", rule)
    amount = _paid_for(order, reading.request)
    if courtesy:
        amount = round(order["total"] * (1 + int(courtesy[1]) / 100), 2)
    return _pay_back(order["order_id"], amount, _reason(reading), dice, label=True)


def _paid_for(order: dict[str, Any], request: str) -> float:
    lines = [i for i in order["items"] if i["name"] in request]
    if not lines or len(order["items"]) == 1:
        return float(order["total"])
    goods = sum(i["quantity"] * i["unit_price"] for i in order["items"])
    line = sum(i["quantity"] * i["unit_price"] for i in lines)
    return float(round(line - order["voucher"] * line / goods, 2))


def _reason(reading: Reading) -> str:
    broken = re.search(r"crack|broken|damaged", reading.request)
    return "damaged on arrival" if broken else "returned by the customer"


def _pay_back(
    order_id: str, amount: float, reason: str, dice: Dice, *, label: bool = False
) -> Move:
    arguments = {"order_id": order_id, "amount": amount, "reason": reason}
    calls: list[Call] = [("issue_refund", arguments)]
    if label:
        calls.append(("send_return_label", {"order_id": order_id}))
    return Move(text=dice.pick(phrases.THINKING), calls=tuple(calls))


def _readdress(reading: Reading, dice: Dice, order: dict[str, Any]) -> Move:
    address = re.search(
        r"(?:send order \S+ to|to|should be) ([^.?\n]+\d[^.?\n]*?)(?: instead)?[.?]",
        reading.request,
    )
    movable = order["status"] in ("processing", "packed")
    if reading.tried("update_address") or not movable or address is None:
        return _note(reading, dice)
    arguments = {"order_id": order["order_id"], "address": address[1]}
    return Move(text=dice.pick(phrases.THINKING), calls=(("update_address", arguments),))


def _fast_billing(reading: Reading, dice: Dice, order_id: str) -> Move:
    if not reading.tried("list_orders"):
        return Move(calls=(("list_orders", {}),))
    orders = {order["order_id"]: order for order in (reading.results("list_orders") or [[]])[-1]}
    if not reading.wants("refund", "double_charge") or order_id not in orders:
        return _note(reading, dice)
    return _pay_back(order_id, orders[order_id]["total"], "as the customer asked", dice)


# ---- technical


def _technical(reading: Reading, dice: Dice) -> Move:
    if reading.tried("open_ticket"):
        return _note(reading, dice)
    if reading.wants("device"):
        return _device(reading, dice)
    return _watch("sign-in", reading, dice)


def _watch(service: str, reading: Reading, dice: Dice) -> Move:
    """Ask for a service's status until it works, or long enough."""
    answers = [a for a in reading.results("check_service_status") if a["service"] == service]
    fine = bool(answers) and answers[-1]["status"] == "operational"
    if fine or len(answers) >= MOST_LOOKS or (answers and dice.chance(0.2)):
        return _note(reading, dice)
    return Move(
        text=dice.pick(phrases.THINKING), calls=(("check_service_status", {"service": service}),)
    )


def _device(reading: Reading, dice: Dice) -> Move:
    status = [a["status"] for a in reading.results("check_service_status")]
    if not status:
        return _ask(_first_looks(reading), dice)
    if "pair" in reading.request.lower() or status[-1] not in ("operational", "recovering"):
        return _note(reading, dice)
    if reading.order_id and not reading.tried("look_up_order"):
        return _ask([("look_up_order", {"order_id": reading.order_id})], dice)
    return _diagnose(reading, dice)


def _first_looks(reading: Reading) -> list[Call]:
    calls: list[Call] = [("check_service_status", {"service": "device-cloud"})]
    if reading.order_id and not reading.tried("look_up_order"):
        calls.append(("look_up_order", {"order_id": reading.order_id}))
    return calls


def _diagnose(reading: Reading, dice: Dice) -> Move:
    serial = _serial(reading)
    if serial is None:
        return _ticket(reading, dice, "The device's serial number is unknown.")
    if not reading.tried("start_diagnostics"):
        return Move(calls=(("start_diagnostics", {"serial": serial}),))
    polls = reading.results("poll_diagnostics")
    finished = [poll for poll in polls if poll["state"] == "finished"]
    if not finished and len(polls) < MOST_POLLS:
        job = reading.results("start_diagnostics")[-1]["job_id"]
        return Move(calls=(("poll_diagnostics", {"job_id": job}),))
    if not finished or finished[-1]["finding"] == "hardware_fault":
        return _ticket(reading, dice, "Diagnostics found a fault.", priority="high")
    return _note(reading, dice)


def _serial(reading: Reading) -> str | None:
    orders = reading.results("look_up_order")
    items = orders[-1]["items"] if orders else []
    named = [item for item in items if item["name"] in reading.request]
    return str((named or items)[0]["serial"]) if items else None


# ---- policy, and what all desks do


def _policy(reading: Reading, dice: Dice) -> Move:
    if reading.tried("open_ticket"):
        return _note(reading, dice)
    if not reading.tried("list_orders") and not reading.order_id and dice.chance(0.4):
        return Move(text=dice.pick(phrases.THINKING), calls=(("list_orders", {}),))
    if replies.policy_answer(reading) is None:
        return _ticket(reading, dice, "The knowledge base has no answer.", priority="low")
    return _note(reading, dice)


def _ticket(reading: Reading, dice: Dice, details: str, *, priority: str = "normal") -> Move:
    intent = reading.intents[0].replace("_", " ") if reading.intents else "question"
    order = f" Order {reading.order_id}." if reading.order_id else ""
    arguments = {
        "subject": dice.pick(phrases.TICKET_SUBJECTS).format(intent=intent),
        "details": f"{details}{order}",
        "priority": priority,
    }
    return Move(text=dice.pick(phrases.THINKING), calls=(("open_ticket", arguments),))


def _note(reading: Reading, dice: Dice) -> Move:
    return Move(text=replies.note(reading, dice))


ROLES: dict[str, Callable[[Reading, Dice], Move]] = {
    "front": _front,
    "billing": _billing,
    "technical": _technical,
    "policy": _policy,
}
