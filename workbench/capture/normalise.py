"""What of a request may differ in a cached replay, as a function's decorator says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workbench.errors import UsageError

# what is left of a request without its volatile parts, or JSON pointers to those
Normalise = Callable[[dict[str, Any]], Any] | Sequence[str]


def check_normalise(normalise: Normalise | None) -> None:
    """Refuse what is neither a function nor JSON pointers.

    Raises
    ------
    UsageError
        It is neither.
    """
    if normalise is None or callable(normalise):
        return
    sound = not isinstance(normalise, str) and all(
        isinstance(one, str) and one.startswith("/") for one in normalise
    )
    if not sound:
        raise UsageError(
            "normalise is neither a function nor JSON pointers",
            expected='["/arguments/now", …]',
            found=normalise,
            hint="a divergence's changes name the pointers of what differed",
        )
