"""What the environment says, read in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


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

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables as they are now."""
        get = os.environ.get
        return cls(
            home=_expanded(get("WORKBENCH_HOME") or "~/.workbench"),
            url=get("WORKBENCH_URL") or None,
            api_key=get("WORKBENCH_API_KEY") or None,
            workspace=get("WORKBENCH_WORKSPACE") or "default",
            database_url=get("WORKBENCH_DATABASE_URL") or None,
            app_database_url=get("WORKBENCH_APP_DATABASE_URL") or None,
            storage_url=get("WORKBENCH_STORAGE_URL") or None,
        )
