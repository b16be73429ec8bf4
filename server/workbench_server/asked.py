"""Values of a query string, read or refused with what was expected and found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 80
_LONGEST = 2_000
_WHEN = "a time such as 2026-03-01T12:00:00Z, or a day"


def one_of(value: str, known: Sequence[str], *, where: str) -> str:
    """Return a word that has to be one of a few."""
    if value not in known:
        raise UsageError(
            f"{where} is not known", where=where, expected=list(known), found=value[:_SHOWN]
        )
    return value


def moment(text: str, *, where: str) -> datetime:
    """Return a time in UTC; one without a zone is UTC already, a day begins at midnight."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        # A plus sign in a query means a space: +00:00 arrives as " 00:00".
        hint = "Write the zone's + as %2B, or take Z." if " " in text else None
        raise UsageError(
            f"{where} is no time", where=where, expected=_WHEN, found=text[:_SHOWN], hint=hint
        ) from error


def uuid(text: str, *, where: str) -> UUID:
    """Return an id."""
    try:
        return UUID(text)
    except ValueError as error:
        raise UsageError(
            f"{where} is no run id", where=where, expected="a uuid", found=text[:_SHOWN]
        ) from error


def text(value: str, *, where: str) -> str:
    """Return a text that a column could hold."""
    if "\0" in value:
        raise UsageError(
            f"{where} has a NUL character",
            where=where,
            expected="text without it",
            found=value[:_SHOWN].replace("\0", "\\0"),
        )
    if len(value) > _LONGEST:
        raise UsageError(
            f"{where} is too long",
            where=where,
            expected=f"at most {_LONGEST} characters",
            found=len(value),
        )
    return value
