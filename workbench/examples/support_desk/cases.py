"""Customers and what they write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.examples.support_desk.orders import catalogue

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Order = dict[str, Any]

TEXTS: dict[str, tuple[str, ...]] = {
    "damaged": (
        (
            "The {item} from order {order} arrived cracked right across the front. I'd like my"
            " money back, please."
        ),
        (
            "My {item} came broken, it rattles and does not switch on. Order {order}. Can I get a"
            " refund?"
        ),
        "I unpacked the {item} today (order {order}) and the housing is damaged. Please refund it.",
    ),
    "regret": (
        (
            "I'm not happy with the {item} I bought in order {order}. I want to send it back and"
            " get a refund."
        ),
        "The {item} isn't what I expected. How do I return it for a refund? It's order {order}.",
        "Could you refund order {order}? The {item} is nice but too big for us.",
    ),
    "double_charge": (
        "I see two payments for order {order} on my statement. Why was I charged twice?",
        "You have taken the money for order {order} two times! Please check this double charge.",
        "My bank shows a duplicate charge from you, for order {order}. Can you look into it?",
    ),
    "parcel": (
        "Where is my parcel? I ordered a {item} (order {order}) and the tracking says nothing.",
        "Order {order} has not arrived yet. Can you tell me where it is?",
        "I'm still waiting for my {item}, order {order}. Is the delivery on its way?",
    ),
    "address": (
        "I have moved. Can you send order {order} to {address} instead?",
        "Please change the delivery address of order {order} to {address}.",
        "I gave the wrong address for order {order}. It should be {address}.",
    ),
    "offline": (
        "My {item} keeps losing its connection, several times a day. I bought it in order {order}.",
        "The {item} from order {order} shows as offline in the app since yesterday.",
        (
            "Since last week my {item} (order {order}) drops out every evening. I have restarted it"
            " twice."
        ),
    ),
    "pairing": (
        "I can't pair the {item} with my phone, the ring just keeps blinking. Order {order}.",
        "Pairing fails with my new {item} (order {order}). What am I doing wrong?",
    ),
    "sign_in": (
        "I cannot sign in to the app any more, it only says 'try again later'.",
        "Signing in fails on my phone and on the web. Is something down at your end?",
        "The app logs me out and the login page turns in circles. Is there an outage?",
    ),
    "warranty": (
        "The battery of my {item} hardly lasts half a day. Is that still covered by the warranty?",
        "How long is the warranty on a refurbished {item}, and does it cover the battery?",
    ),
    "gift": (
        "I was given a {item} as a gift. Can I return it without the receipt?",
        "Somebody gave me a voucher. Is its share paid out when I return one part of the order?",
    ),
}
SECOND_QUESTIONS = {
    "warranty": "One more thing: how long is the warranty on refurbished devices?",
    "gift": "And can an item that was a gift be returned?",
    "sign_in": "By the way, I can't sign in to the app either.",
}
SECOND_QUESTION = 0.15
WEIGHTS = {
    "damaged": 20,
    "regret": 16,
    "double_charge": 12,
    "parcel": 12,
    "address": 9,
    "offline": 12,
    "pairing": 5,
    "sign_in": 6,
    "warranty": 6,
    "gift": 4,
}
ADDRESSES = (
    "Kanaalweg 17, 2628 EB Delft",
    "Via Garibaldi 4, 10122 Torino",
    "Rue de Flandre 88, 1000 Bruxelles",
    "Eschersheimer Landstr. 61, 60322 Frankfurt",
)
REASONS: dict[str, Callable[[Order], bool]] = {
    "damaged": lambda order: order["status"] == "delivered",
    "regret": lambda order: order["status"] == "delivered",
    "double_charge": lambda order: order["status"] == "delivered",
    "parcel": lambda order: order["status"] == "shipped",
    "address": lambda order: order["status"] != "delivered",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFile:
    """One customer's request: the agent's input, and what a human would file it under."""

    input: dict[str, Any]
    intent: str
    channel: str
    title: str


def draw_case(rng: random.Random, *, intent: str | None = None) -> CaseFile:
    """Return a request drawn with the given random generator.

    Examples
    --------
    >>> draw_case(random.Random(7), intent="sign_in").input["messages"][0]["role"]
    'user'
    """
    intent = intent or rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    fits = REASONS.get(intent)
    order = rng.choice([o for o in catalogue() if fits is None or fits(o)])
    item = rng.choice(order["items"])["name"]
    facts = {"item": item, "order": order["id"], "address": rng.choice(ADDRESSES)}
    text = rng.choice(TEXTS[intent]).format(**facts)
    if intent in REASONS and rng.random() < SECOND_QUESTION:
        text += " " + rng.choice(list(SECOND_QUESTIONS.values()))
    channel = rng.choice(["chat", "email", "email", "web form"])
    return CaseFile(
        input={
            "messages": [{"role": "user", "content": _dressed(text, order, channel, rng)}],
            "customer": order["customer"],
            "name": order["customer_name"],
            "channel": channel,
        },
        intent=intent,
        channel=channel,
        title=f"{intent.replace('_', ' ')} · {item} · {order['id']}",
    )


def _dressed(text: str, order: Order, channel: str, rng: random.Random) -> str:
    if channel == "chat":
        return rng.choice(["hi, ", "hello! ", "", "hey there, "]) + text
    opening = rng.choice(["Hello,", "Good morning,", "Dear Larkfield team,", "Hi,"])
    closing = rng.choice(["Thanks,", "Best wishes,", "Kind regards,", "Many thanks,"])
    return f"{opening}\n\n{text}\n\n{closing}\n{order['customer_name']}"
