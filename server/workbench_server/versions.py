"""Our own numbered, forward-only migrations, as they lie in this package."""

from __future__ import annotations

from importlib import resources


def own_migrations() -> dict[str, str]:
    """Return name → text of our migrations, in order."""
    folder = resources.files("workbench_server") / "migrations"
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return dict(sorted((file.name, file.read_text("utf-8")) for file in files))
