"""An offline chat model: reads the conversation, picks a plausible move, words it by chance."""

# ruff: noqa: TC002, TC003 - LangChain and pydantic read the annotations when they run

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from workbench.examples.support_desk.decisions import Move, decide
from workbench.examples.support_desk.dice import Dice
from workbench.examples.support_desk.reading import read

USD_PER_INPUT_TOKEN = 0.8e-6
USD_PER_OUTPUT_TOKEN = 3.2e-6


class OfflineChatModel(BaseChatModel):
    """A chat model without a network.

    With ``seed`` None it draws from the system's entropy; with a seed, equal conversations get
    equal answers.
    """

    model_name: str = "larkfield-offline-1"
    temperature: float = 0.8
    seed: int | None = None

    @property
    def _llm_type(self) -> str:
        return "larkfield-offline"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model_name, "temperature": self.temperature, "seed": self.seed}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools it may call."""
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        choice = {"tool_choice": tool_choice} if tool_choice else {}
        return self.bind(tools=formatted, **choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - the interface passes it
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - same
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - the interface passes it
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in _pieces(self._answer(messages, kwargs)):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                run_manager.on_llm_new_token(str(piece.content), chunk=chunk)
            yield chunk

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        dice = Dice(rng=self._rng(messages), temperature=self.temperature)
        allowed = {tool["function"]["name"] for tool in kwargs.get("tools", [])}
        move = decide(read(messages), dice)
        message = AIMessage(move.text, tool_calls=_tool_calls(move, allowed, dice))
        usage = _usage(messages, message, kwargs)
        message.usage_metadata = usage
        message.response_metadata = {
            "model_name": self.model_name,
            "finish_reason": "tool_calls" if message.tool_calls else "stop",
            "cost_usd": _cost(usage),
        }
        return message

    def _rng(self, messages: list[BaseMessage]) -> random.Random:
        if self.seed is None:
            return random.Random()
        text = json.dumps([[m.type, m.text, getattr(m, "tool_calls", [])] for m in messages])
        return random.Random(hashlib.sha256(f"{self.seed}{text}".encode()).digest())


def _tool_calls(move: Move, allowed: set[str], dice: Dice) -> list[dict[str, Any]]:
    return [
        {"name": name, "args": args, "id": f"call_{dice.rng.getrandbits(64):016x}"}
        for name, args in move.calls
        if name in allowed
    ]


def _usage(messages: list[BaseMessage], answer: AIMessage, kwargs: dict[str, Any]) -> UsageMetadata:
    told = sum(_tokens(m.text) + 4 for m in messages) + _tokens(json.dumps(kwargs.get("tools", [])))
    said = _tokens(answer.text) + _tokens(json.dumps(answer.tool_calls)) + 4
    return UsageMetadata(input_tokens=told, output_tokens=said, total_tokens=told + said)


def _tokens(text: str) -> int:
    return (len(text) + 3) // 4


def _cost(usage: UsageMetadata) -> float:
    cost = usage["input_tokens"] * USD_PER_INPUT_TOKEN
    return round(cost + usage["output_tokens"] * USD_PER_OUTPUT_TOKEN, 8)


def _pieces(message: AIMessage) -> Iterator[AIMessageChunk]:
    for text in re.findall(r"\s*\S+\s*", message.text):
        yield AIMessageChunk(content=text)
    calls = [
        tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"], index=index)
        for index, c in enumerate(message.tool_calls)
    ]
    yield AIMessageChunk(
        content="",
        tool_call_chunks=calls,
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
    )
