"""What a long conversation takes when it is recorded, against the sum of its distinct messages."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
from figure import Figure, say
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from storage import OURS, size_of

import workbench as wb
from workbench import hashing
from workbench.capture import agents
from workbench.capture.record import record_into
from workbench.store import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stack import Stack

_TURNS = 200
_STORED = 10  # conversations that are weighed where they are stored
_SIZES = (500, 2_000, 8_000)  # bytes of text in an answer; a question has a quarter of it
_encoder = msgspec.json.Encoder()


def figures(stack: Stack | None = None) -> Iterator[Figure]:
    for size in _SIZES:
        say(f"a conversation of {_TURNS} turns, answers of {size} bytes")
        whole, half = _recorded(_TURNS, size), _recorded(_TURNS // 2, size)
        what = f"a conversation of {_TURNS} turns, answers of {size:,} bytes"
        yield Figure(figure=f"{what}: bytes recorded", value=whole.total, unit="bytes",
                     baseline="the sum of its distinct messages", baseline_value=whole.messages,
                     wanted="<= 1.2 x")  # fmt: skip
        yield Figure(figure=f"{what}: of these, the requests' lists of messages",
                     value=whole.lists, unit="bytes",
                     baseline="the sum of its distinct messages",
                     baseline_value=whole.messages)  # fmt: skip
        yield Figure(figure=f"{what}: of these, the events' envelopes: places, times, hashes",
                     value=whole.envelopes, unit="bytes",
                     baseline="the sum of its distinct messages",
                     baseline_value=whole.messages)  # fmt: skip
        yield Figure(figure=f"{what}: bytes recorded", value=whole.total, unit="bytes",
                     baseline="one of half as many turns", baseline_value=half.total,
                     wanted="2 x: it grows linearly")  # fmt: skip
        if stack is not None:
            yield Figure(figure=f"{what}: bytes in Postgres, with its indexes, of {_STORED} such",
                         value=_stored(stack, size), unit="bytes",
                         baseline="the sum of their distinct messages",
                         baseline_value=_STORED * whole.messages)  # fmt: skip


class _Chat(BaseChatModel):
    """Answers at once; it is what is recorded of it that is measured."""

    texts: Any

    @property
    def _llm_type(self) -> str:
        return "chat"

    def _generate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(next(self.texts)))])


class _Scales:
    """Stands where events are stored, and weighs them as they are written to the disk."""

    run_id = "conversation"

    def __init__(self) -> None:
        self.total = self.messages = self.lists = self.envelopes = 0

    def append(self, events: Any, bodies: Any = None) -> None:
        for digest, body in (bodies or {}).items():
            raw = hashing.dumps(body)
            self.messages += len(raw)
            self.total += len(_encoder.encode({"bodies": {digest: body}})) + 1
        for event in events:
            line = len(_encoder.encode(event)) + 1
            self.total += line
            self.envelopes += line - len(event.payload)
            if event.event_type == "call_started":
                listed = msgspec.json.decode(event.payload)["request"].get("messages")
                self.lists += len(hashing.dumps(listed))

    def close(self) -> None:
        """Nothing is open."""


def _recorded(turns: int, size: int) -> _Scales:
    found, scales = agents.find_agent(_talking(size)), _Scales()
    call = agents.RootCall.of(found, turns, entry=None, config=None, stream_mode=None)
    record_into(scales, found, call)
    return scales


def _stored(stack: Stack, size: int) -> int:
    before = size_of(stack, OURS)
    with connect(stack.url, stack.api_key) as store:
        for number in range(_STORED):
            wb.record(store, _talking(size, seed=number + 1), _TURNS)
    return size_of(stack, OURS) - before


def _talking(size: int, *, seed: int = 0) -> Callable[[int], int]:
    def agent(turns: int) -> int:
        rng = random.Random(seed)
        model = _Chat(texts=(_text(rng, size) for _ in range(turns)))
        history: list[Any] = [SystemMessage(_text(rng, 1000))]
        for _ in range(turns):
            history.append(HumanMessage(_text(rng, size // 4)))
            history.append(model.invoke(history))
        return len(history)

    return agent


def _text(rng: random.Random, size: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz     "
    return "".join(rng.choices(letters, k=size))


if __name__ == "__main__":
    for figure in figures():
        print(figure.line())
