"""A plain tool-calling loop: the agent that replays runs of which only the conversation is known.

Its model, its tools and whoever speaks to it are calls at the boundary (`talking`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from workbench.capture import callables, messages, requests, values
from workbench.capture.talking import Conversation
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def loop(
    model: Any,
    tools: Any,
    human: Any = None,
    *,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Loop:
    """Make a plain tool-calling agent; it also replays runs that were imported.

    The model is asked with the whole conversation. What tools it calls are called one after
    another, and their answers go back to it; a tool that raises answers with its error. Once the
    model calls none, it is the human's turn, and without a human or with nothing more to say the
    loop ends. It gives back the text of the model's last message.

    A loop is an agent as any other: record it with `workbench.record`, replay what it recorded in
    mode ``exact``. An imported run it replays in mode ``cached``: it takes the turns that the run
    took, leaves a call open that was never answered, and ends where the run ended.

    Parameters
    ----------
    model
        A chat model of LangChain, which is bound to the tools, or a function of (messages, tools):
        the conversation as dictionaries ``{"role", "content", "tool_calls", …}`` and the tools by
        name. It returns text, a message, or ``{"content": …, "tool_calls": [{"name": …,
        "arguments": {…}, "id": …}]}``.
    tools
        Functions or LangChain's tools, in a list or by name. A user's own calls go to them too.
    human
        A function of (messages) that returns what the user says, as a model returns its answer, or
        None to end.
    name
        What the model is called in a recording; default its own name, in a replay the recorded one.
    params
        The parameters that the model's requests are signed with; default those that a chat model
        tells of, in a replay those recorded.

    Raises
    ------
    UsageError
        The model, a tool or the human cannot be called, or two tools have one name.

    Examples
    --------
    >>> def model(messages, tools):
    ...     if messages[-1]["role"] == "tool":
    ...         return "It is " + messages[-1]["content"]
    ...     return {"tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}
    >>> def add(a, b):
    ...     return a + b
    >>> loop(model, [add])({"messages": [("user", "1 + 2?")]})
    'It is 3'
    """
    for what, given in (("model", model), ("human", human)):
        if given is not None and not callable(given) and not isinstance(given, Runnable):
            raise UsageError(f"the {what} cannot be called", found=type(given).__name__)
    return Loop(model, _by_name(tools), human, name=name, params=params)


def _by_name(tools: Any) -> dict[str, Any]:
    """Return the tools by name."""
    pairs: Iterable[tuple[str, Any]]
    if isinstance(tools, Mapping):
        pairs = tools.items()
    else:
        pairs = ((_name_of(tool), tool) for tool in tools or ())
    found: dict[str, Any] = {}
    for name, tool in pairs:
        if not isinstance(tool, BaseTool) and not callable(tool):
            raise UsageError("a tool cannot be called", where=str(name), found=type(tool).__name__)
        if name in found:
            raise UsageError("two tools have one name", found=name)
        found[str(name)] = tool
    return found


def _name_of(tool: Any) -> str:
    return tool.name if isinstance(tool, BaseTool) else callables.name_of(tool)


class Loop:
    """A tool-calling agent: see `loop`."""

    def __init__(
        self,
        model: Any,
        tools: dict[str, Any],
        human: Any,
        *,
        name: str | None,
        params: Mapping[str, Any] | None,
    ) -> None:
        self.model, self.tools, self.human = model, tools, human
        self.model_name, self.params = name, params

    def __call__(self, given: Any) -> str | None:
        """Talk from what is given (messages, or ``{"messages": […]}``) to the end."""
        from workbench.capture import roots  # which knows what a loop is made of

        return roots.entered(self, given, lambda: Conversation(self, given).talk())

    @property
    def functions(self) -> list[Any]:
        """The functions it is made of."""
        tools = [getattr(tool, "func", tool) for tool in self.tools.values()]
        return [self.model, *tools, self.human]

    # ---- what it asks, and who is asked

    def identity(self, plan: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
        """Return the model's name, and what its requests hold beside the messages."""
        recorded: Mapping[str, Any] = (plan or {}).get("model") or {}
        name, request = str(recorded.get("name") or ""), dict(recorded.get("request") or {})
        if plan is None:
            name, request = self._own_identity()
        if self.model_name is not None:
            name = request["model"] = self.model_name
        if self.params is not None:
            request["params"] = values.freeze(dict(self.params))[0]
        return name, request

    def _own_identity(self) -> tuple[str, dict[str, Any]]:
        if isinstance(self.model, BaseChatModel):
            name = requests.model_name(self.model)
            params = requests.model_parameters(self.model)
        else:
            name, params = callables.name_of(self.model), {}
        request: dict[str, Any] = {"model": name}
        if params:
            request["params"] = params
        if self.tools:
            request["tools"] = [self._told(name) for name in self.tools]
        return name, request

    def _told(self, name: str) -> Any:
        tool = self.tools[name]
        return requests.tool_schema(tool) if isinstance(tool, BaseTool) else {"name": name}

    def answer(self, bodies: list[dict[str, Any]]) -> Any:
        """Ask the model."""
        if not isinstance(self.model, Runnable):
            return self.model(values.thaw(bodies), self.tools)
        model = self.model
        if self.tools and isinstance(model, BaseChatModel):
            model = model.bind_tools(list(self.tools.values()))
        return model.invoke([messages.from_body(body, values.thaw) for body in bodies])

    def use(self, call: Mapping[str, Any]) -> Any:
        """Call a tool."""
        tool = self.tools.get(call["name"])
        if tool is None:
            raise LookupError(f"there is no tool {call['name']}")
        arguments = values.thaw(call.get("arguments"))
        if not isinstance(arguments, (dict, type(None))):
            raise TypeError(f"the arguments of {call['name']} are no object")
        if not isinstance(tool, BaseTool):
            return tool(**arguments or {})
        asked = {"name": call["name"], "args": arguments or {}, "id": call.get("id") or ""}
        return tool.invoke({**asked, "type": "tool_call"})
