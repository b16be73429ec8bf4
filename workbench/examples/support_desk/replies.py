"""The desks' notes and the reply to the customer, put together from what the tools answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from workbench.examples.support_desk import phrases

if TYPE_CHECKING:
    from workbench.examples.support_desk.dice import Dice
    from workbench.examples.support_desk.reading import Done, Reading

ADVICE = "For the customer: "
SMALL_WORDS = frozenset("the and for was can that this how you are".split())  # noqa: SIM905 - reads better
LEAST_SHARED = 2


def note(reading: Reading, dice: Dice) -> str:
    """Return what a desk leaves for the front desk."""
    facts = [fact for done in _last_of_each(reading) if (fact := _fact(done))]
    advice = _advice(reading)
    facts += [f"{done.name} failed: {done.text}." for done in reading.done if done.result is None]
    parts = [dice.pick(phrases.NOTE_OPENINGS), *dict.fromkeys(facts)]
    return " ".join(parts) + (f"\n{ADVICE}{advice}" if advice else "")


def reply(reading: Reading, dice: Dice) -> str:
    """Return the letter to the customer."""
    trouble = reading.wants("refund", "double_charge", "device", "sign_in", "parcel")
    opening = dice.pick(phrases.SORRY if trouble else phrases.THANKS)
    said = _sentences(reading, dice) or [dice.pick(phrases.UNCONFIRMED)]
    greeting = dice.pick(phrases.GREETINGS).format(name=reading.customer)
    ending = dice.pick(phrases.CLOSINGS), dice.pick(phrases.SIGNATURES)
    return f"{greeting}\n\n{opening} {' '.join(said)}\n\n{ending[0]}\n\n{ending[1]}"


def policy_answer(reading: Reading) -> str | None:
    """Return the two sentences of the knowledge base that fit the request best."""
    words = _words(reading.request)
    sentences = [s for text in reading.excerpts.values() for s in _split(text)]
    scored = [(len(words & _words(sentence)), sentence) for sentence in sentences]
    best = sorted((s for s in scored if s[0] >= LEAST_SHARED), key=lambda s: -s[0])[:2]
    return " ".join(sentence for _, sentence in best) or None


def _fact(done: Done) -> str | None:  # noqa: PLR0911 - one line for each tool
    facts = done.result
    match done.name:
        case "issue_refund":
            return "Paid back {amount:.2f} EUR on {order_id} ({refund_id}).".format(**facts)
        case "send_return_label":
            return f"Label {facts['label']} sent."
        case "open_ticket":
            return f"Ticket {facts['ticket']}, {facts['priority']}."
        case "update_address":
            return f"Address of {facts['order_id']} changed."
        case "track_parcel":
            return f"Carrier: {facts['order_id']} {facts['state']}."
        case "check_service_status":
            return f"{facts['service']} is {facts['status']}."
        case "poll_diagnostics":
            return f"Diagnostics: {facts['finding']}." if "finding" in facts else None
        case _:
            return None


def _advice(reading: Reading) -> str | None:
    if "policy desk" in reading.instructions and not reading.tried("open_ticket"):
        return policy_answer(reading)
    if "technical desk" not in reading.instructions:
        return None
    findings = [p["finding"] for p in reading.results("poll_diagnostics") if "finding" in p]
    if findings and findings[-1] == "hardware_fault":
        return None
    if "pair" in reading.request.lower():
        return _first_sentences(reading.excerpts.get("Pairing a device", ""))
    about = [text for text in reading.excerpts.values() if findings and findings[-1] in text]
    return _first_sentences(about[0]) if about else None


def _sentences(reading: Reading, dice: Dice) -> list[str]:
    said = [
        sentence for done in _last_of_each(reading) if (sentence := _sentence(reading, done, dice))
    ]
    said += _left_as_it_is(reading, dice)
    return said + [n.partition(ADVICE)[2] for n in reading.notes if ADVICE in n]


def _last_of_each(reading: Reading) -> list[Done]:
    return list({done.name: done for done in reading.done if done.result is not None}.values())


def _sentence(reading: Reading, done: Done, dice: Dice) -> str | None:
    facts: dict[str, Any] = done.result if isinstance(done.result, dict) else {}
    match done.name:
        case "track_parcel":
            place = facts["scans"][0]["place"] if facts["scans"] else "warehouse"
            return dice.pick(phrases.TRACKED[facts["state"]]).format(**facts, place=place)
        case "check_service_status" if _is_fine(facts) and reading.wants("device"):
            return None
        case "check_service_status":
            return dice.pick(phrases.SERVICE[facts["status"]]).format(**facts)
        case name if name in SENTENCES:
            return dice.pick(SENTENCES[name]).format(**facts)
        case _:
            return None


SENTENCES = {
    "issue_refund": phrases.REFUNDED,
    "send_return_label": phrases.LABELLED,
    "open_ticket": phrases.TICKETED,
    "update_address": phrases.READDRESSED,
}


def _is_fine(facts: dict[str, Any]) -> bool:
    return bool(facts["status"] == "operational")


def _left_as_it_is(reading: Reading, dice: Dice) -> list[str]:
    """Say why nothing was done where the facts forbade it."""
    settled = ("issue_refund", "open_ticket", "update_address")
    orders = reading.results("look_up_order")
    if any(reading.tried(name) for name in settled) or not orders:
        return []
    order = orders[-1]
    facts = {"order_id": order["order_id"], "amount": order["total"]}
    if reading.wants("double_charge"):
        return [dice.pick(phrases.NOTHING_DUE).format(**facts)]
    if reading.wants("address") and order["status"] not in ("processing", "packed"):
        return [dice.pick(phrases.SHIPPED_ALREADY).format(**facts)]
    return []


def _first_sentences(text: str) -> str | None:
    return " ".join(_split(text)[:3]) or None


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def _words(text: str) -> set[str]:
    return {w[:6] for w in re.findall(r"[a-z]{3,}", text.lower())} - SMALL_WORDS
