"""What the offline model understands of a conversation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

INTENTS: tuple[tuple[str, str], ...] = (
    ("double_charge", r"charged? twice|double charge|duplicate charge|two times|two payments"),
    ("address", r"\bmoved\b|delivery address|wrong address"),
    ("refund", r"money back|refund|not happy|what i expected"),
    ("parcel", r"where is|not arrived|still waiting|on its way"),
    ("sign_in", r"sign in|signing in|logs me out|log ?in page"),
    ("device", r"\bpair|connection|offline|drops out|blinking"),
    ("policy", r"warranty|gift|voucher"),
)
DESK_OF = {
    "double_charge": "billing",
    "address": "billing",
    "refund": "billing",
    "parcel": "billing",
    "sign_in": "technical",
    "device": "technical",
    "policy": "policy",
}
ORDER = re.compile(r"\bLF-\d{5}\b")
EXCERPT = re.compile(r"^\[\d+\] (.+)\n((?:(?!\[\d+\] ).*\n?)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A tool call with its answer; ``result`` is None where it failed."""

    name: str
    arguments: dict[str, Any]
    result: Any
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything a decision is based on."""

    instructions: str
    excerpts: dict[str, str]
    customer: str
    request: str
    intents: tuple[str, ...]
    done: tuple[Done, ...]
    notes: tuple[str, ...]
    desks: tuple[str, ...]

    def results(self, name: str) -> list[Any]:
        """Return what every successful call of a tool answered, in order."""
        return [done.result for done in self.done if done.name == name and done.result is not None]

    def tried(self, name: str) -> bool:
        """Say whether a tool was called, in vain or not."""
        return any(done.name == name for done in self.done)

    def failed(self, name: str) -> bool:
        """Say whether a tool was called and never answered."""
        return self.tried(name) and not self.results(name)

    @property
    def order_id(self) -> str | None:
        """The order the customer names."""
        found = ORDER.search(self.request)
        return found[0] if found else None

    @property
    def careful(self) -> bool:
        """Whether the instructions ask to look before acting."""
        return "Look up the order before you act" in self.instructions

    def wants(self, *intents: str) -> bool:
        """Say whether the customer asks for one of these."""
        return any(intent in self.intents for intent in intents)


def read(messages: Sequence[BaseMessage]) -> Reading:
    """Return what a conversation says, the system message first."""
    system = str(messages[0].content) if messages and messages[0].type == "system" else ""
    request = next((m.text for m in messages if isinstance(m, HumanMessage)), "")
    done = tuple(_done(messages))
    return Reading(
        instructions=system.partition("\n\n")[0].replace("\n", " "),
        excerpts={title: _joined(text) for title, text in EXCERPT.findall(system)},
        customer=_found(r"^Customer: (\S+)", system) or "there",
        request=request,
        intents=tuple(name for name, words in INTENTS if re.search(words, request.lower())),
        done=done,
        notes=tuple(_notes(messages)),
        desks=tuple(str(d.arguments.get("desk")) for d in done if d.name == "hand_over"),
    )


def _done(messages: Sequence[BaseMessage]) -> list[Done]:
    answers = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    calls = [call for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    return [
        Done(
            name=call["name"],
            arguments=call["args"],
            result=_result(answers[str(call["id"])]),
            text=answers[str(call["id"])].text,
        )
        for call in calls
        if call["id"] in answers
    ]


def _result(message: ToolMessage) -> Any:
    if message.status == "error":
        return None
    try:
        return json.loads(message.text)
    except ValueError:
        return message.text


def _notes(messages: Sequence[BaseMessage]) -> list[str]:
    return [m.text for m in messages if isinstance(m, AIMessage) and not m.tool_calls]


def _joined(text: str) -> str:
    return "\n".join(" ".join(part.split("\n")) for part in text.strip().split("\n\n"))


def _found(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else None
