"""What a tool does to the world: declared by name, or on the tool itself; unknown otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from workbench.errors import UsageError
from workbench.schema import Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_ATTRIBUTE = "__workbench_effect__"
EFFECTS: tuple[str, ...] = get_args(Effect)


def tool_effects(effect: Effect) -> Callable[[T], T]:
    """Declare on a tool, or on the function it is made of, what it does to the world.

    Parameters
    ----------
    effect
        ``pure``, ``read``, ``write``, ``irreversible`` or ``unknown``.

    Raises
    ------
    UsageError
        The effect is none of these.

    Examples
    --------
    >>> @tool_effects("read")
    ... def look_up(order: str) -> str:
    ...     return order
    """
    _checked(effect)

    def declare(tool: T) -> T:
        object.__setattr__(tool, _ATTRIBUTE, effect)
        return tool

    return declare


def _checked(effect: str) -> None:
    if effect not in EFFECTS:
        raise UsageError("no such effect", expected=list(EFFECTS), found=effect)


class Effects:
    """Effects by tool name, over what the tools declare themselves."""

    def __init__(self, declared: Mapping[str, Effect] | None = None) -> None:
        self._declared = dict(declared or {})
        for effect in self._declared.values():
            _checked(effect)

    def of(self, name: str, tool: Any = None) -> Effect:
        """Return the effect of a tool."""
        known = self._declared.get(name)
        if known is not None:
            return known
        if tool is None:
            return "unknown"
        for owner in (tool, getattr(tool, "func", None), getattr(tool, "coroutine", None)):
            effect: Effect | None = getattr(owner, _ATTRIBUTE, None)
            if effect is not None:
                return effect
        return "unknown"
