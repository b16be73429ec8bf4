"""Which code an agent is: hashes of its modules, and the versions of what it stands on."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.capture.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = 2  # a name and a version
_INSTALLED = ("site-packages", "dist-packages")


def fingerprint(
    agent: Any, *, entry_point: str | None, distributions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return ``{agent, root, modules, functions, distributions}`` of an agent.

    ``modules`` maps every loaded module under the agent's root to the sha-256 of its source; the
    root is the folder of the module that defines the agent. ``functions`` are the agent's own
    functions by name, hashed by their code, for agents that no file defines. ``distributions``
    are found out unless they are given.
    """
    functions = list(_functions(agent))
    module = home_of(agent) or (entry_point or "").partition(":")[0]
    path = _source(sys.modules.get(module))
    root = path.parent if path is not None else None
    found = {
        "agent": module,
        "modules": _modules(root),
        "functions": {name: _code_hash(function) for name, function in functions},
        "distributions": dict(_distributions() if distributions is None else distributions),
    }
    return {key: value for key, value in found.items() if value}


def _functions(agent: Any) -> list[tuple[str, Any]]:
    """Return the agent's own functions: itself, or those of a graph's nodes or of a loop."""
    found: dict[str, Any] = {}
    parts = agent.functions if isinstance(agent, Loop) else _node_functions(agent)
    for candidate in (agent, *parts):
        function = inspect.unwrap(getattr(candidate, "__func__", candidate))
        if inspect.isfunction(function) and not _is_installed(function.__module__):
            found.setdefault(function.__qualname__, function)
    return sorted(found.items())


def _node_functions(agent: Any) -> list[Any]:
    nodes = getattr(agent, "nodes", None)
    found = []
    for node in nodes.values() if isinstance(nodes, dict) else ():
        bound = getattr(node, "bound", node)
        for part in (bound, getattr(bound, "first", None), *getattr(bound, "steps", ())):
            found += [getattr(part, "func", None), getattr(part, "afunc", None)]
    return [function for function in found if function is not None]


def home_of(agent: Any) -> str:
    """Return the module that defines the agent: that of most of its functions, or empty."""
    functions = _functions(agent)
    if functions:
        modules = [function.__module__ for _, function in functions]
        return str(max(sorted(set(modules)), key=modules.count))
    own = "" if isinstance(agent, Loop) else str(getattr(agent, "__module__", "") or "")
    return "" if _is_installed(own) else own


def _is_installed(module: str) -> bool:
    path = _source(sys.modules.get(module))
    return path is not None and any(part in _INSTALLED for part in path.parts)


def _source(module: Any) -> Path | None:
    path = getattr(module, "__file__", None)
    return Path(path) if path and str(path).endswith(".py") else None


def _modules(root: Path | None) -> dict[str, str]:
    """Return name → sha-256 of the source of every loaded module in a folder or below it."""
    if root is None:
        return {}
    beginning = f"{root}{os.sep}"
    found: dict[str, str] = {}
    for name, loaded in sys.modules.copy().items():
        path = getattr(loaded, "__file__", None)
        if not isinstance(path, str) or not path.startswith(beginning) or name == "__mp_main__":
            continue
        if path.endswith(".py") and not any(
            f"{os.sep}{part}{os.sep}" in path for part in _INSTALLED
        ):
            digest = _file_hash(path)
            if digest is not None:
                found[name] = digest
    return dict(sorted(found.items()))


_hashes: dict[str, tuple[tuple[int, int], str]] = {}


def _file_hash(path: str) -> str | None:
    """Return the sha-256 of a file, read again only when its time or size changed."""
    try:
        stat = Path(path).stat()
        state = (stat.st_mtime_ns, stat.st_size)
        known = _hashes.get(path)
        if known is None or known[0] != state:
            with Path(path).open("rb") as file:
                known = _hashes[path] = (state, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:
        return None
    return known[1]


def _code_hash(function: Any) -> str:
    """Return the sha-256 of what a function does, whatever its file and lines."""
    return hashlib.sha256(repr(_code_form(function.__code__)).encode()).hexdigest()


def _code_form(code: Any) -> Any:
    constants = [_code_form(c) if inspect.iscode(c) else _constant(c) for c in code.co_consts]
    return (code.co_name, code.co_code.hex(), code.co_names, code.co_varnames, constants)


def _constant(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def distributions() -> dict[str, str]:
    """Return the installed distributions a recording may depend on, and their versions."""
    return dict(_distributions())


@functools.cache
def _distributions() -> tuple[tuple[str, str], ...]:
    found = {}
    for distribution in metadata.distributions():
        name, version = _named(distribution)
        if name:
            found[name.lower().replace("_", "-")] = version
    found["python"] = platform.python_version()
    return tuple(sorted(found.items()))


def _named(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return (name, version) from the lines that say them: to parse all it says takes long."""
    said: dict[str, str] = {}
    for line in (distribution.read_text("METADATA") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and key in ("Name", "Version"):
            said[key] = value.strip()
        if len(said) == _NAMED or not line:
            break
    if len(said) == _NAMED:
        return said["Name"], said["Version"]
    return distribution.metadata["Name"] or "", distribution.version


def differences(recorded: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (what, recorded, now) for every module or function that changed.

    A module that only one of the two has loaded says nothing; the agent's own module is compared
    also when it goes by another name now.
    """
    changed: list[tuple[str, Any, Any]] = []
    then, here = recorded.get("modules") or {}, now.get("modules") or {}
    changed += [
        (name, then[name], here[name]) for name in then if here.get(name, then[name]) != then[name]
    ]
    own, other = recorded.get("agent"), now.get("agent")
    if own != other and own in then and other in here and then[own] != here[other]:
        changed.append((str(other), then[own], here[other]))
    # another Python compiles the same function to other bytes
    if not changed and _python(recorded) == _python(now):
        mine, theirs = recorded.get("functions") or {}, now.get("functions") or {}
        changed += [
            (name, mine[name], theirs[name])
            for name in mine
            if theirs.get(name, mine[name]) != mine[name]
        ]
    return changed


def _python(code: dict[str, Any]) -> str | None:
    version = (code.get("distributions") or {}).get("python")
    return version and ".".join(str(version).split(".")[:2])


def upgraded(recorded: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (distribution, recorded version, version now) for those that changed."""
    then, here = recorded.get("distributions") or {}, now.get("distributions") or {}
    return [(n, then[n], here[n]) for n in sorted(then) if n in here and here[n] != then[n]]
