"""Plain Python: functions that are calls at the boundary, and functions that are roots."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

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
    signature = inspect.signature(function)

    def describe(session: Session, *args: Any, **kwargs: Any) -> Asked:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        freeze = values.Freezer()
        arguments = {key: value for key, value in bound.arguments.items() if key != "self"}
        declared = session.effects.of(name)
        return Asked(
            kind=kind,
            name=name,
            request={"arguments": freeze(arguments)},
            lossy=freeze.lossy,
            effect=effect if declared == "unknown" else declared,
        )

    return describe


def root(function: F) -> F:
    """Make a function a root: inside ``with wb.record(store)`` its input and output are the run's.

    The function takes one argument, and optionally a config.
    """
    rooted: F = roots.rooted("call")(function)
    return rooted
