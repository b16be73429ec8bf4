"""Reads what is asked out of the arguments of each intercepted entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.capture import requests

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool

    from workbench.capture.asked import Asked
    from workbench.capture.session import Session


def model_input(
    session: Session,
    model: BaseChatModel,
    input: Any,  # noqa: A002 - LangChain's own word
    config: Any = None,  # noqa: ARG001 - never signed
    *,
    stop: list[str] | None = None,
    **options: Any,
) -> Asked:
    """``invoke``, ``ainvoke``, ``stream`` and ``astream`` of a chat model."""
    messages = model._convert_input(input).to_messages()  # noqa: SLF001 - what invoke itself does first
    return requests.model_request(model, messages, pool=session.pool, stop=stop, options=options)


def model_batches(
    session: Session,
    model: BaseChatModel,
    messages: list[list[BaseMessage]],
    stop: list[str] | None = None,
    callbacks: Any = None,  # noqa: ARG001 - never signed
    **options: Any,
) -> Asked:
    """``generate`` and ``agenerate``: several lists of messages in one call."""
    flat = [message for batch in messages for message in batch]
    return requests.model_request(
        model,
        flat,
        pool=session.pool,
        stop=stop,
        options=options,
        entry="generate",
        batches=[len(batch) for batch in messages],
    )


def model_messages(
    session: Session,
    model: BaseChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: Any = None,  # noqa: ARG001 - never signed
    **options: Any,
) -> Asked:
    """``_generate_with_cache`` and its asynchronous twin, for what reaches them alone."""
    return requests.model_request(
        model, messages, pool=session.pool, stop=stop, options=options, entry="generate_with_cache"
    )


def tool_input(
    session: Session,
    tool: BaseTool,
    input: Any,  # noqa: A002 - LangChain's own word
    config: Any = None,  # noqa: ARG001 - never signed
    **_: Any,
) -> Asked:
    """``invoke`` and ``ainvoke`` of a tool."""
    return requests.tool_request(tool, input, effects=session.effects)


def tool_run(
    session: Session,
    tool: BaseTool,
    tool_input: Any,
    *_: Any,
    tool_call_id: str | None = None,
    **__: Any,
) -> Asked:
    """``run`` and ``arun`` of a tool."""
    return requests.tool_request(
        tool,
        tool_input,
        effects=session.effects,
        tool_call_id=tool_call_id,
    )


def query(
    session: Session,  # noqa: ARG001 - each reader takes the session
    retriever: BaseRetriever,
    input: Any,  # noqa: A002 - LangChain's own word
    config: Any = None,  # noqa: ARG001 - never signed
    **options: Any,
) -> Asked:
    """``invoke`` and ``ainvoke`` of a retriever."""
    return requests.retriever_request(retriever, input, options)
