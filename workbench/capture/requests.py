"""Requests of LangChain's models, tools and retrievers, as they are signed.

A model call is signed by messages, bound tools, tool choice, stop and parameters; a tool call by
what the model sent. Callbacks, tags, run and thread ids, injected state and runtimes never are.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pydantic
from langchain_core.utils.function_calling import convert_to_openai_tool

from workbench import hashing
from workbench.capture import values
from workbench.capture.asked import Asked, MessagePool

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool

    from workbench.capture.effects import Effects

_UNSIGNED = frozenset(
    {
        "callbacks",
        "tags",
        "metadata",
        "run_name",
        "run_id",
        "run_manager",
        "config",
        "ls_structured_output_format",
        "tools",
        "tool_choice",
        "stop",
    }
)
_PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "num_predict",
        "num_ctx",
        "seed",
        "n",
        "frequency_penalty",
        "presence_penalty",
        "repeat_penalty",
        "logit_bias",
        "logprobs",
        "response_format",
        "format",
        "reasoning",
        "reasoning_effort",
        "effort",
        "thinking",
        "thinking_budget",
        "verbosity",
        "model_kwargs",
        "extra_body",
        "service_tier",
    }
)
_MODEL_NAMES = ("model_name", "model", "model_id", "deployment_name", "azure_deployment")


def model_request(
    model: BaseChatModel,
    messages: list[BaseMessage],
    *,
    pool: MessagePool,
    stop: list[str] | None = None,
    options: dict[str, Any],
    **shape: Any,
) -> Asked:
    """Return what a model is asked; ``shape`` are further facts of the entry that was used."""
    digests, bodies, lossy = pool.pooled(messages)
    freeze = values.Freezer()
    name = model_name(model)
    request: dict[str, Any] = {"messages": digests, "model": name}
    if options.get("tools"):
        request["tools"] = [freeze(tool_schema(tool)) for tool in options["tools"]]
    if options.get("tool_choice") is not None:
        request["tool_choice"] = _parameter(options["tool_choice"])
    if stop is not None or options.get("stop") is not None:
        request["stop"] = list(stop if stop is not None else options["stop"])
    params = model_parameters(model)
    params |= {k: _parameter(v) for k, v in options.items() if k not in _UNSIGNED}
    if params:
        request["params"] = params
    request |= {key: value for key, value in shape.items() if value is not None}
    return Asked(
        kind="model",
        name=name,
        parsed=request,
        bodies=bodies,
        lossy=lossy or freeze.lossy,
        effect="read",
    )


def model_name(model: BaseChatModel) -> str:
    """Return what a model is called."""
    for attribute in _MODEL_NAMES:
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def model_parameters(model: BaseChatModel) -> dict[str, Any]:
    """Return the parameters that a model's requests are signed with."""
    named = _PARAMETERS & type(model).model_fields.keys()
    found = {name: getattr(model, name) for name in named}
    identifying = dict(model._identifying_params)  # noqa: SLF001 - what LangChain tells tracers of a model
    found |= {k: v for k, v in identifying.items() if k not in _MODEL_NAMES}
    found = {k: v for k, v in found.items() if not _is_secret(k, v)}
    return {key: _parameter(found[key]) for key in sorted(found) if found[key] is not None}


def _is_secret(name: str, value: Any) -> bool:
    secret = isinstance(value, (pydantic.SecretStr, pydantic.SecretBytes))
    return secret or name.endswith(("api_key", "_token", "secret"))


def _parameter(value: Any) -> Any:
    return _without_reprs(values.freeze(value)[0])


def _without_reprs(frozen: Any) -> Any:
    """Leave out what a parameter that is no JSON says of itself: it may hold an address."""
    if type(frozen) is list:
        return [_without_reprs(item) for item in frozen]
    if type(frozen) is not dict:
        return frozen
    if frozen.get("$type") == "object":
        return {"$type": "object", "$value": {"class": frozen["$value"].get("class")}}
    return {key: _without_reprs(value) for key, value in frozen.items()}


def tool_schema(tool: Any) -> Any:
    """Return how a model is told of a tool."""
    return tool if isinstance(tool, dict) else convert_to_openai_tool(tool)


# ---- tools


_injected_of: dict[int, tuple[weakref.ref[BaseTool], Any, frozenset[str]]] = {}


def injected_names(tool: BaseTool) -> frozenset[str]:
    """Return which arguments of a tool its framework injects; looked up once for each schema."""
    own, schema = id(tool), tool.args_schema
    known = _injected_of.get(own)
    if known is None or known[0]() is not tool or known[1] is not schema:
        names = _injected(tool)
        _injected_of[own] = weakref.ref(tool, lambda gone: _forget(own, gone)), schema, names
        return names
    return known[2]


def _forget(own: int, gone: weakref.ref[BaseTool]) -> None:
    found = _injected_of.get(own)
    if found is not None and found[0] is gone:  # else another has its place by now
        _injected_of.pop(own, None)


def _injected(tool: BaseTool) -> frozenset[str]:
    schema = tool.args_schema
    fields = getattr(schema, "model_fields", None) or getattr(schema, "__fields__", None) or {}
    names = {*fields, *tool._injected_args_keys, "run_manager", "callbacks", "config", "runtime"}  # noqa: SLF001 - LangChain has no public word for them
    return frozenset(names - tool._filter_injected_args(dict.fromkeys(names)).keys())  # noqa: SLF001 - see above


def tool_request(
    tool: BaseTool,
    given: Any,
    *,
    effects: Effects,
    tool_call_id: str | None = None,
) -> Asked:
    """Return what a tool is asked: the arguments a model sent."""
    arguments = given
    if isinstance(given, dict) and given.get("type") == "tool_call":
        tool_call_id = given.get("id")
        arguments = given["args"]
    if not isinstance(arguments, dict):
        arguments = {"input": arguments}
    hidden = injected_names(tool)
    sent = {key: value for key, value in arguments.items() if key not in hidden}
    freeze = values.Freezer()
    written = hashing.dumps_plain({"arguments": sent})
    return Asked(
        kind="tool",
        name=tool.name,
        parsed={"arguments": freeze(sent)} if written is None else None,
        written=written or b"",
        lossy=freeze.lossy,
        effect=effects.of(tool.name, tool),
        tool_call_id=tool_call_id,
    )


# ---- retrievers

_SEARCH: tuple[str, ...] = ("k", "search_type", "search_kwargs")


def retriever_request(retriever: BaseRetriever, query: Any, options: dict[str, Any]) -> Asked:
    """Return what a retriever is asked."""
    freeze = values.Freezer()
    request: dict[str, Any] = {"query": freeze(query)}
    params: dict[str, Any] = {
        name: _parameter(getattr(retriever, name))
        for name in _SEARCH
        if name in type(retriever).model_fields
    }
    params |= {k: _parameter(v) for k, v in options.items() if k not in _UNSIGNED}
    if params:
        request["params"] = params
    return Asked(
        kind="retriever",
        name=retriever.get_name(),
        parsed=request,
        lossy=freeze.lossy,
        effect="read",
    )
