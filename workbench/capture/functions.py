"""Plain Python: functions that are calls at the boundary, and functions that are roots."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from workbench import hashing
from workbench.capture import boundary, roots, values
from workbench.capture.asked import Asked
from workbench.capture.effects import tool_effects
from workbench.errors import UsageError
from workbench.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.capture.session import Session
    from workbench.schema import Effect, Kind

F = TypeVar("F", bound="Callable[..., Any]")


def call(
    *, kind: Kind = "tool", name: str | None = None, effect: Effect = "unknown"
) -> Callable[[F], F]:
    """Make a function a call: recorded with its arguments and what it gives back, and replayed.

    Parameters
    ----------
    kind
        What it is: ``tool``, ``model``, ``retriever``, ``http``, ``clock``, ``random``, …
    name
        What it is called in a recording; default the function's name.
    effect
        What it does to the world.

    Raises
    ------
    UsageError
        No such kind, or effect.

    Examples
    --------
    >>> @call(effect="read")
    ... def look_up(order: str) -> str:
    ...     return f"order {order}"
    >>> look_up("A1")
    'order A1'
    """
    if kind not in KINDS:
        raise UsageError("no such kind of call", expected=list(KINDS), found=kind)
    declare = tool_effects(effect)

    def decorate(function: F) -> F:
        describe = _describing(function, kind=kind, name=name or function.__name__, effect=effect)
        if inspect.isasyncgenfunction(function):
            wrap = boundary.astreaming(describe)
        elif inspect.isgeneratorfunction(function):
            wrap = boundary.streaming(describe)
        elif inspect.iscoroutinefunction(function):
            wrap = boundary.awaiting(describe)
        else:
            wrap = boundary.calling(describe)
        wrapped: F = declare(wrap(function))
        return wrapped

    return decorate


def _describing(
    function: Callable[..., Any], *, kind: Kind, name: str, effect: Effect
) -> Callable[..., Asked]:
    bound = _binding(function)

    def describe(session: Session, *args: Any, **kwargs: Any) -> Asked:
        arguments = bound(args, kwargs)
        declared = session.effects.of(name)
        known = effect if declared == "unknown" else declared
        written = hashing.dumps_plain({"arguments": arguments})
        if written is not None:
            return Asked(kind=kind, name=name, written=written, effect=known)
        freeze = values.Freezer()
        request = {"arguments": freeze(arguments)}
        return Asked(kind=kind, name=name, request=request, lossy=freeze.lossy, effect=known)

    return describe


def _binding(function: Callable[..., Any]) -> Callable[[Any, Any], dict[str, Any]]:
    """Return what names the arguments of a call, the defaults of those left out among them."""
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    names = [p.name for p in parameters]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    simple = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    has_self = "self" in names

    def in_full(args: Any, kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {key: value for key, value in bound.arguments.items() if key != "self"}

    def at_once(args: Any, kwargs: Any) -> dict[str, Any]:
        found = dict(zip(names, args, strict=False), **kwargs)
        if len(found) != len(args) + len(kwargs):  # too many, or one named twice
            return in_full(args, kwargs)
        if len(found) < len(names):
            found = {**defaults, **found}
        return found if found.keys() == wanted else in_full(args, kwargs)

    wanted = frozenset(names)
    return at_once if simple and not has_self else in_full


def root(function: F) -> F:
    """Make a function a root: inside ``with wb.record(store)`` its input and output are the run's.

    The function takes one argument, and optionally a config.
    """
    rooted: F = roots.rooted("call")(function)
    return rooted
