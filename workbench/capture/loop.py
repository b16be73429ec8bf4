"""A plain tool-calling loop: the agent that replays runs of which only the conversation is known.

Its model, its tools and whoever speaks to it are calls at the boundary. A loop that goes by a plan
(`transcripts`) takes the turns that were recorded; one without a plan takes them as they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from workbench.capture import callables, exceptions, messages, requests, said, scope, values
from workbench.capture.asked import Asked, MessagePool
from workbench.capture.effects import Effects
from workbench.errors import UsageError
from workbench.schema import message_text

if TYPE_CHECKING:
    from workbench.capture.outcomes import Came
    from workbench.capture.session import Session

    Make = Callable[[], Came]
    # a message's own place, and how many answers it stands behind it
    Key = tuple[int, int]

_SPOKEN_TO = ("user", "tool")


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
        return _Conversation(self, given).talk()

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


class _Conversation:
    """One way through a loop: the messages in their places, and where calls are made."""

    def __init__(self, agent: Loop, given: Any) -> None:
        here = scope.current()
        self.here = None if here is None or here.in_call else here
        self.place = scope.Place("root") if self.here is None else scope.standing(self.here)
        self.pool = MessagePool() if self.here is None else self.here.session.pool
        self.effects = Effects() if self.here is None else self.here.session.effects
        self.agent = agent
        self.plan: Mapping[str, Any] | None = said.plan_in(given)
        self.name, self.request = agent.identity(self.plan)
        self.calls: Counter[str] = Counter()
        self.at: dict[Key, tuple[str, dict[str, Any]]] = {}
        self.lossy = False
        begun = said.beginning(given, pool=self.pool, stored=self.plan is not None)
        for index, came in enumerate(begun):
            self._put((index, 0), came)

    def talk(self) -> str | None:
        """Take every turn, and return the text of the model's last message, if that is the last."""
        if self.plan is None:
            self._freely()
        else:
            self._by_plan(self.plan["later"])
        last = self.at[max(self.at)][1] if self.at else {}
        return message_text(last.get("content")) if last.get("role") == "assistant" else None

    def _freely(self) -> None:
        last = self.at[max(self.at)][1] if self.at else {}
        models_turn = last.get("role") in _SPOKEN_TO or (
            self.agent.human is None and not _says(last)
        )
        turn = len(self.at)
        while models_turn or self.agent.human is not None:
            body = self._model(turn) if models_turn else self._human(turn)
            if body is None:
                return
            models_turn = models_turn is bool(body.get("tool_calls"))
            turn += 1

    def _by_plan(self, later: Iterable[Mapping[str, Any]]) -> None:
        for step in later:
            index = step["index"]
            if "say" in step:
                self._put((index, 0), said.stored(step["say"]))
            elif "ask" in step:
                lane = self._lane("?0", order="inferred")
                self._tool(step["ask"], lane, (index, 0))
            elif step["turn"] == "human":
                if self._human(index) is None:
                    return
            else:
                self._model(index)

    # ---- turns

    def _human(self, index: int) -> dict[str, Any] | None:
        asked = Asked(kind="human", name="user", parsed={}, effect="read")

        def make() -> Came:
            if self.agent.human is None:
                raise LookupError("the loop has no human to ask")
            answer = self.agent.human(values.thaw(self._before(index)[1]))
            return said.came(answer, role="user", pool=self.pool)

        return self._spoken(index, self._made(asked, self.here, make), role="user")

    def _model(self, index: int) -> dict[str, Any] | None:
        digests, bodies = self._before(index)
        asked = Asked(
            kind="model",
            name=self.name,
            parsed={"messages": digests, **self.request},
            bodies=dict(zip(digests, bodies, strict=True)),
            effect="read",
            lossy=self.lossy,
        )

        def make() -> Came:
            return said.came(self.agent.answer(bodies), role="assistant", pool=self.pool)

        return self._spoken(index, self._made(asked, self.here, make), role="assistant")

    def _spoken(self, index: int, came: Came, *, role: str) -> dict[str, Any] | None:
        if came.outcome is not None and "message" not in came.outcome:
            came = said.came(values.thaw(came.outcome.get("value")), role=role, pool=self.pool)
        body = self._put((index, 0), came)
        if body is not None:
            self._tools(index, body)
        return body

    def _tools(self, index: int, body: Mapping[str, Any]) -> None:
        group = "user_tools" if body.get("role") == "user" else "tools"
        for position, call in enumerate(body.get("tool_calls") or ()):
            segment = f"{group}[{position}]"
            places = ((self.plan or {}).get("replies") or {}).get(segment, ())
            number = self.calls[segment]
            self.calls[segment] += 1
            key: Key | None = (index, position + 1)
            if number < len(places):
                key = None if places[number] is None else (places[number], 0)
            self._tool(call, self._lane(segment), key)

    def _tool(self, call: Mapping[str, Any], lane: scope.Scope | None, key: Key | None) -> None:
        """Call a tool and put its answer where it belongs; without a place it is left open."""
        name = str(call["name"])
        asked = Asked(
            kind="tool",
            name=name,
            parsed={"arguments": call.get("arguments")},
            effect=self.effects.of(name, self.agent.tools.get(name)),
            lossy=self.lossy,
        )
        if key is None:
            self._left_open(asked, lane)
            return
        came = self._made(asked, lane, lambda: self._used(call), raises=False)
        if came.outcome is None and came.exception is not None:
            came = said.failed(exceptions.from_record(came.exception), call)
        elif came.outcome is None or "message" not in came.outcome:
            value = values.thaw((came.outcome or {}).get("value"))
            came = said.tool_came(value, call, pool=self.pool)
        self._put(key, came)

    def _used(self, call: Mapping[str, Any]) -> Came:
        try:
            value = self.agent.use(call)
        except Exception as error:  # noqa: BLE001 - a tool's error is its answer
            return said.failed(error, call)
        return said.tool_came(value, call, pool=self.pool)

    # ---- at the boundary

    def _lane(self, segment: str, **order: Any) -> scope.Scope | None:
        if self.here is None:
            return None
        outer = self.place
        kept = {"namespace": outer.namespace, "step_id": outer.step_id, "order": outer.order}
        place = scope.Place(f"{outer.path}/{segment}", **{**kept, **order})
        return scope.Scope(self.here.session, place)

    def _made(
        self, asked: Asked, here: scope.Scope | None, make: Make, *, raises: bool = True
    ) -> Came:
        """Return what a call is answered with, or make it; ``raises`` what it is said to raise."""
        if here is None:
            return make()
        session: Session = here.session
        opened = session.begin(here, asked)
        if opened.answer is not None:
            came = opened.answer.came
            session.write_end(opened, came, status=opened.answer.status)
            if raises and came.outcome is None and came.exception is not None:
                raise exceptions.from_record(came.exception)
            return came
        former = scope.raw()
        try:
            scope.put(scope.Scope(session, opened.place, in_call=True, in_root=True))
            came = make()
        except BaseException as error:
            session.failed(opened, error)
            raise
        finally:
            scope.put(former)
        session.write_end(opened, came, status="ok" if came.exception is None else "error")
        return came

    def _left_open(self, asked: Asked, here: scope.Scope | None) -> None:
        """Begin a call whose answer was never recorded."""
        if here is not None:
            here.session.waits(here.session.begin(here, asked))

    # ---- messages

    def _before(self, index: int) -> tuple[list[str], list[dict[str, Any]]]:
        found = [self.at[key] for key in sorted(self.at) if key < (index, 0)]
        return [digest for digest, _ in found], [body for _, body in found]

    def _put(self, key: Key, came: Came) -> dict[str, Any] | None:
        """Put a message in its place; None where nothing was said."""
        digest = (came.outcome or {}).get("message")
        if digest is None:
            return None
        body = came.bodies[digest]
        self.at[key] = digest, body
        self.lossy = self.lossy or came.lossy
        return body


def _says(body: Mapping[str, Any]) -> bool:
    return body.get("role") == "assistant"
