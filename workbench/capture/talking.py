"""One way through a loop: whose turn it is, where each message stands, and the calls it makes.

By a plan (`transcripts`) it takes the turns that were recorded, and answers stand where they stood;
without one it takes them as they come.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from workbench.capture import exceptions, said, scope, values
from workbench.capture.asked import Asked, MessagePool
from workbench.capture.effects import Effects
from workbench.schema import message_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from workbench.capture.loop import Loop
    from workbench.capture.outcomes import Came
    from workbench.capture.session import Session

    Make = Callable[[], Came]
    # a message's own place, and the how manieth of the answers to it
    Key = tuple[int, int]

_SPOKEN_TO = ("user", "tool")


class Conversation:
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
                self._spoken(index, said.stored(step["say"]), role=str(step["say"].get("role")))
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
            self.calls[segment] += 1
            places = ((self.plan or {}).get("replies") or {}).get(segment) or {}
            number = str(self.calls[segment])
            key: Key | None = (index, position + 1)
            if number in places:
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
            came = said.failed(exceptions.from_record(came.exception), self._answered(call))
        elif came.outcome is None or "message" not in came.outcome:
            value = values.thaw((came.outcome or {}).get("value"))
            came = said.tool_came(value, self._answered(call), pool=self.pool)
        self._put(key, came)

    def _used(self, call: Mapping[str, Any]) -> Came:
        try:
            value = self.agent.use(call)
        except Exception as error:  # noqa: BLE001 - a tool's error is its answer
            return said.failed(error, self._answered(call))
        return said.tool_came(value, self._answered(call), pool=self.pool)

    def _answered(self, call: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what an answer says of its call: no tool's name where its source gave none."""
        named = self.plan is None or self.plan.get("named")
        return call if named else {**call, "name": None}

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
