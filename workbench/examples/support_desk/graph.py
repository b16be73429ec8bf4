"""The graph: a front desk that hands over to three desks, each with retrieval and tools."""

# ruff: noqa: TC002, TC003 - LangChain and pydantic read the annotations when they run

from __future__ import annotations

import asyncio
import operator
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from workbench.examples.support_desk import prompts, tools
from workbench.examples.support_desk.knowledge import BASE, KnowledgeBase
from workbench.examples.support_desk.model import OfflineChatModel

ATTEMPTS = 3
PAUSE = 0.005
MONEY_MOVES = ("issue_refund",)
DESKS: dict[str, list[BaseTool]] = {
    "billing": tools.BILLING,
    "technical": tools.TECHNICAL,
    "policy": tools.POLICY,
}


class Ticket(TypedDict):
    """What comes in."""

    messages: Annotated[list[AnyMessage], add_messages]
    customer: str
    name: str
    channel: str


class Case(Ticket):
    """What the desks share while they work."""

    desks: Annotated[list[str], operator.add]
    documents: list[Document]


class Answer(TypedDict):
    """What goes out: the conversation, and the desks that worked on it."""

    messages: Annotated[list[AnyMessage], add_messages]
    desks: Annotated[list[str], operator.add]


def build(model: BaseChatModel | None = None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the desk as a graph.

    Parameters
    ----------
    model
        Any LangChain chat model that can call tools. By default the offline one, whose ``seed``
        and ``temperature`` are read from the config's ``configurable``. So are the releases of the
        ``prompts`` (``p-11``), the ``knowledge`` (``kb-41``), the ``ranking`` of the search
        (``bm25``), the ``ledger`` (``l-8``) and the ``payments`` gateway (``eu-1``).
    """
    graph = StateGraph(Case, input_schema=Ticket, output_schema=Answer)
    graph.add_node("front", _role("front", [tools.hand_over], model))
    graph.add_node("handover", ToolNode([tools.hand_over], name="handover"))
    for name, own_tools in DESKS.items():
        graph.add_node(name, _desk(name, own_tools, model))
        graph.add_edge(name, "front")
    graph.add_edge(START, "front")
    graph.add_conditional_edges("front", _calls_a_tool, {True: "handover", False: END})
    graph.add_conditional_edges("handover", _chosen_desk, list(DESKS))
    return graph.compile(name="support_desk")


def _desk(
    name: str, own_tools: list[BaseTool], model: BaseChatModel | None
) -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(Case)
    graph.add_node("retrieve", _retrieve)
    graph.add_node("agent", _role(name, own_tools, model))
    node = ToolNode(own_tools, wrap_tool_call=_retried, awrap_tool_call=_aretried)
    graph.add_node("tools", node)
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", "agent")
    graph.add_conditional_edges("agent", _calls_a_tool, {True: "tools", False: END})
    graph.add_conditional_edges("tools", _has_a_finding, {True: "retrieve", False: "agent"})
    return graph.compile(name=name)


def _retrieve(state: Case, config: RunnableConfig) -> dict[str, Any]:
    release, ranking = _setting(config, "knowledge", BASE), _setting(config, "ranking", "bm25")
    retriever = KnowledgeBase(release=release, ranking=ranking)
    return {"documents": retriever.invoke(_query(state), config)}


def _query(case: Case) -> str:
    """Search for what the customer writes; once diagnostics are done, for their finding."""
    finding = _finding(case["messages"][-1])
    return f"diagnostics result {finding}" if finding else str(case["messages"][0].content)


def _finding(message: AnyMessage) -> str | None:
    found = re.search(r'"finding": "(\w+)"', message.text)
    return found[1] if found and isinstance(message, ToolMessage) else None


def _has_a_finding(case: Case) -> bool:
    return _finding(case["messages"][-1]) is not None


def _role(role: str, own_tools: Sequence[BaseTool], model: BaseChatModel | None) -> Any:
    def answer(case: Case, config: RunnableConfig) -> dict[str, Any]:
        bound = (model or _offline(config)).bind_tools(own_tools)
        reply = bound.invoke(_conversation(role, case, config), config)
        return {"messages": [reply], "desks": [] if role == "front" else _done(role, reply)}

    return answer


def _done(role: str, reply: AIMessage) -> list[str]:
    return [] if reply.tool_calls else [role]


def _conversation(role: str, case: Case, config: RunnableConfig) -> list[BaseMessage]:
    system = prompts.system_prompt(
        role,
        release=_setting(config, "prompts", prompts.BASE),
        name=case["name"],
        customer=case["customer"],
        channel=case["channel"],
        documents=[] if role == "front" else case["documents"],
    )
    return [SystemMessage(system), *case["messages"]]


def _offline(config: RunnableConfig) -> BaseChatModel:
    settings = config.get("configurable", {})
    return OfflineChatModel(seed=settings.get("seed"), temperature=settings.get("temperature", 0.8))


def _setting(config: RunnableConfig, name: str, default: str) -> str:
    return str(config.get("configurable", {}).get(name, default))


def _calls_a_tool(case: Case) -> bool:
    last = case["messages"][-1]
    return isinstance(last, AIMessage) and bool(last.tool_calls)


def _chosen_desk(case: Case) -> str:
    calls = [c for m in case["messages"] if isinstance(m, AIMessage) for c in m.tool_calls]
    chosen = [call["args"]["desk"] for call in calls if call["name"] == tools.hand_over.name]
    return str(chosen[-1])


def _retried(
    request: ToolCallRequest,
    call: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
) -> ToolMessage | Command[Any]:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call(request)
        except OSError as error:
            answer = _given_up(request, error, attempt)
            if answer:
                return answer
            time.sleep(PAUSE * attempt)
    raise AssertionError("the last attempt either answers or raises")


async def _aretried(
    request: ToolCallRequest,
    call: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
) -> ToolMessage | Command[Any]:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await call(request)
        except OSError as error:
            answer = _given_up(request, error, attempt)
            if answer:
                return answer
            await asyncio.sleep(PAUSE * attempt)
    raise AssertionError("the last attempt either answers or raises")


def _given_up(request: ToolCallRequest, error: OSError, attempt: int) -> ToolMessage | None:
    """Return the error as the tool's answer once all attempts failed; money moves fail the run."""
    if attempt < ATTEMPTS:
        return None
    if request.tool_call["name"] in MONEY_MOVES:
        raise error
    text = f"Error: {error} (gave up after {attempt} attempts)"
    call = request.tool_call
    return ToolMessage(text, name=call["name"], tool_call_id=call["id"], status="error")


agent = build()
