"""What the environment says, read in one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from workbench.errors import UsageError

_LONGEST_NAME = 100
_NAME = re.compile(r"\w(?:[\w ./@+:-]*[\w./@+:-])?")


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        # A user without a home, as in some containers; whoever needs the folder says what is wrong.
        return Path("/nonexistent") / ".workbench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The ``WORKBENCH_*`` variables; ``None`` where one is not set."""

    home: Path
    url: str | None
    api_key: str | None
    workspace: str
    database_url: str | None
    app_database_url: str | None
    storage_url: str | None
    spool: Path
    spool_bytes: int

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables as they are now."""
        get = os.environ.get
        home = _expanded(get("WORKBENCH_HOME") or "~/.workbench")
        spool = get("WORKBENCH_SPOOL")
        return cls(
            home=home,
            url=get("WORKBENCH_URL") or None,
            api_key=get("WORKBENCH_API_KEY") or None,
            workspace=get("WORKBENCH_WORKSPACE") or "default",
            database_url=get("WORKBENCH_DATABASE_URL") or None,
            app_database_url=get("WORKBENCH_APP_DATABASE_URL") or None,
            storage_url=get("WORKBENCH_STORAGE_URL") or None,
            spool=_expanded(spool) if spool else home / "spool",
            spool_bytes=_bytes("WORKBENCH_SPOOL_BYTES", get("WORKBENCH_SPOOL_BYTES"), 2**30),
        )


def _bytes(name: str, text: str | None, default: int) -> int:
    """Return a number of bytes that a variable says.

    Raises
    ------
    UsageError
        It is no positive whole number.
    """
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{name} is no number of bytes", expected="such as 1073741824", found=text)
    return int(text)


def workspace_name(text: str) -> str:
    """Return the text if it can be a workspace's name.

    Raises
    ------
    UsageError
        It is empty or too long, or has characters that do not stand in a name.
    """
    if len(text) > _LONGEST_NAME or not _NAME.fullmatch(text):
        raise UsageError(
            "this cannot be a workspace's name",
            expected=f"1 to {_LONGEST_NAME} letters, digits, inner spaces, any of _ . / @ + : -",
            found=repr(text[:_LONGEST_NAME]),
        )
    return text
