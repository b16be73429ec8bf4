"""The root of a run: how an agent is called, and how the same call is made again."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from workbench import hashing
from workbench.capture import messages, values
from workbench.capture.code import home_of
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.asked import MessagePool

Entry = Literal["call", "invoke", "ainvoke", "stream", "astream"]
ENTRIES: tuple[str, ...] = get_args(Entry)

_CONFIG = ("recursion_limit", "max_concurrency", "tags", "run_name", "metadata")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What is called, and its importable name where it has one."""

    target: Any
    entry_point: str | None

    @property
    def is_runnable(self) -> bool:
        """Whether it is called as LangChain calls things."""
        return isinstance(self.target, Runnable)


def find_agent(agent: Any) -> Agent:
    """Return the agent: an object as it is, or what ``module:attribute`` names.

    Raises
    ------
    UsageError
        The name cannot be imported, or what it names can be neither called nor invoked.
    """
    entry_point = None
    if isinstance(agent, str):
        entry_point, agent = agent, _imported(agent)
    if not isinstance(agent, Runnable) and not callable(agent):
        raise UsageError(
            "an agent is a callable or a LangChain Runnable", found=type(agent).__name__
        )
    return Agent(target=agent, entry_point=entry_point or _name_of(agent))


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    if not module or not attribute:
        raise UsageError("an agent's name is module:attribute", found=path)
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the agent {path!r} cannot be imported",
            found=str(error),
            hint="name it module:attribute, importable from where you are",
        ) from error
    return found


def _name_of(agent: Any) -> str | None:
    """Return ``module:attribute`` of an object that can be imported under that name."""
    name = getattr(agent, "__qualname__", None)
    module = getattr(agent, "__module__", None)
    if name and module and module != "__main__" and "<" not in name:
        return f"{module}:{name}"
    if name is None:
        return _found_in_modules(agent)
    return None


def _found_in_modules(agent: Any) -> str | None:
    """Return where an object is a module's attribute, nearest to where its functions are."""
    home = home_of(agent)
    found = [
        (_distance(home, module_name), f"{module_name}:{name}")
        for module_name, module in sys.modules.copy().items()
        if module is not None and module_name not in ("__main__", "__mp_main__")
        for name, value in list(vars(module).items())
        if value is agent
    ]
    return min(found)[1] if found else None


def _distance(home: str, module: str) -> tuple[int, int]:
    """Return how far a module is from another: names not shared, then its own depth."""
    mine, theirs = home.split("."), module.split(".")
    shared = sum(1 for one, other in zip(mine, theirs, strict=False) if one == other)
    return len(mine) - shared, len(theirs)


# ---- how it is called


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCall:
    """One way of calling an agent: the method, its input, config and stream modes."""

    method: Entry
    input: Any
    config: dict[str, Any] = field(default_factory=dict)
    stream_mode: Any = None

    @property
    def thread(self) -> str | None:
        """The thread of a graph's state that the call is in."""
        found = (self.config.get("configurable") or {}).get("thread_id")
        return None if found is None else str(found)

    @classmethod
    def of(
        cls, agent: Agent, given: Any, *, entry: str | None, config: Any, stream_mode: Any
    ) -> RootCall:
        """Check how an agent is to be called."""
        method = entry or ("invoke" if agent.is_runnable else "call")
        if method not in ENTRIES:
            raise UsageError("no such entry", expected=list(ENTRIES), found=method)
        if method == "call" and agent.is_runnable:
            method = "invoke"
        if method != "call" and not hasattr(agent.target, method):
            raise UsageError(f"the agent has no {method}", found=type(agent.target).__name__)
        return cls(
            method=method,  # type: ignore[arg-type] # checked above
            input=given,
            config=dict(config or {}),
            stream_mode=stream_mode,
        )

    def recorded(self, pool: MessagePool) -> tuple[dict[str, Any], dict[str, Any], bool]:
        """Return (run_started's fields, the bodies they name, whether anything was lost)."""
        freeze = values.Freezer()
        form, bodies, ids = _frozen_input(self.input, freeze, pool)
        entry: dict[str, Any] = {"method": self.method}
        if self.stream_mode is not None:
            entry["stream_mode"] = freeze(self.stream_mode)
        if ids is not None:
            entry["input_ids"] = ids
        configurable = _public(self.config.get("configurable") or {})
        if configurable:
            entry["configurable"] = freeze(configurable)
        kept = {key: self.config[key] for key in _CONFIG if self.config.get(key)}
        fields: dict[str, Any] = {"entry": entry, "input": form}
        if bodies is not None:
            fields["pooled"] = True
        if kept:
            fields["config"] = freeze(kept)
        return fields, bodies or {}, freeze.lossy

    @classmethod
    def restored(cls, started: Any, bodies: Mapping[str, Any]) -> RootCall:
        """Return the call a ``run_started`` was made of."""
        entry = started.entry
        config = dict(values.thaw(started.config or {}))
        if entry.get("configurable"):
            config["configurable"] = values.thaw(entry["configurable"])
        return cls(
            method=entry.get("method", "call"),
            input=_thawed_input(started, bodies),
            config=config,
            stream_mode=values.thaw(entry.get("stream_mode")),
        )


def _public(configurable: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in configurable.items() if not key.startswith("__")}


def _frozen_input(
    given: Any, freeze: values.Freezer, pool: MessagePool
) -> tuple[Any, dict[str, Any] | None, list[str | None] | None]:
    """Return (form, pooled bodies or None, the messages' own ids where any has one)."""
    listed = given.get("messages") if isinstance(given, dict) else None
    if not (
        isinstance(listed, list) and listed and all(isinstance(m, BaseMessage) for m in listed)
    ):
        return freeze(given), None, None
    digests, bodies, lossy = pool.pooled(listed)
    freeze.lossy = freeze.lossy or lossy
    rest = {key: value for key, value in given.items() if key != "messages"}
    ids = [message.id for message in listed]
    return {**freeze(rest), "messages": digests}, bodies, ids if any(ids) else None


def _thawed_input(started: Any, bodies: Mapping[str, Any]) -> Any:
    if not started.pooled:
        return values.thaw(started.input)
    form = dict(started.input)
    digests = form.pop("messages")
    ids = started.entry.get("input_ids") or [None] * len(digests)
    listed = [
        messages.from_body(bodies[digest], values.thaw, id=own)
        for digest, own in zip(digests, ids, strict=True)
    ]
    return {**values.thaw(form), "messages": listed}


def run_started_payload(
    agent: Agent, call: RootCall, pool: MessagePool, code: dict[str, Any]
) -> tuple[bytes, dict[str, Any], bool]:
    """Return (run_started's payload, the bodies it names, whether its input lost something)."""
    fields, bodies, lossy = call.recorded(pool)
    body = {"entry_point": agent.entry_point, "code": code, **fields}
    kept = {
        key: value
        for key, value in body.items()
        if value is not None and (key == "input" or value not in ({}, False))
    }
    return hashing.dumps_in_order(kept), bodies, lossy  # an agent may go through its input
