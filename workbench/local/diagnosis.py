"""``workbench doctor``: what can be reached, what cannot, why, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import Unavailable, WorkbenchError
from workbench.local import client, programs
from workbench.local.home import is_locked, prepare
from workbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workbench.local.home import Home

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def doctor(home: Home) -> list[Finding]:
    """Look at everything a store needs; starts nothing."""
    return list(_findings(home))


def _findings(home: Home) -> Iterator[Finding]:
    settings = Settings.from_environment()
    usable = _tried("home", lambda: _home(home))
    yield usable
    if settings.url:
        address = settings.url
        yield _tried("server", lambda: _server(address, settings.api_key))
        yield from _readiness(address)
        return
    if not settings.database_url:
        yield _tried("programs", lambda: str(programs.installed()))
    if usable.ok:
        yield from _stack(home)


def _tried(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=look())
    except WorkbenchError as error:
        where = f" ({error.where})" if error.where else ""
        found = f": {error.found}" if error.found else ""
        return Finding(name=name, ok=False, detail=f"{error.what}{where}{found}", hint=error.hint)


def _home(home: Home) -> str:
    prepare(home)
    return str(home.path)


def _server(address: str, key: str | None) -> str:
    from workbench.store import connect

    with connect(address, key) as store:
        return f"{address}, workspace {store.workspace}"


def _stack(home: Home) -> Iterator[Finding]:
    try:
        told = client.status(home)
    except WorkbenchError as error:
        yield Finding(name="supervisor", ok=False, detail=str(error.what), hint=error.hint)
        return
    if told is None:
        yield _absent(home)
        return
    yield Finding(
        name="supervisor", ok=told["state"] == "ready", detail=_supervisor(told), hint=_why(told)
    )
    for name, part in told["parts"].items():
        yield _part(name, part)
    if told["state"] == "ready":
        yield from _readiness(told["url"], local_socket=told["socket"])


def _absent(home: Home) -> Finding:
    if is_locked(home):
        return Finding(
            name="supervisor",
            ok=False,
            detail="it holds the home but does not answer",
            hint=f"`workbench down`, then `workbench up`; its log is {home.log('supervisor')}.",
        )
    return Finding(
        name="supervisor",
        ok=False,
        detail="the stack does not run",
        hint="`workbench up`, or `wb.open()` in a notebook.",
    )


def _supervisor(told: dict[str, Any]) -> str:
    stays = (
        "stays until `workbench down`"
        if told["pinned"]
        else f"{told['leases']} leases"
        if told["leases"]
        else f"ends in {told['ends_in_s']:.0f} s"
    )
    return f"{told['state']}, {told['url']}, process {told['pid']}, {stays}"


def _why(told: dict[str, Any]) -> str | None:
    error = told["error"]
    return None if error is None else f"{error['title']} {error.get('hint') or ''}".strip()


def _part(name: str, part: dict[str, Any]) -> Finding:
    ok = part["state"] == "running"
    detail = f"process {part['pid']}" if ok else f"down ({part['last_exit']})"
    if part["restarts"]:
        detail += f", started again {part['restarts']} times, last {part['last_exit']}"
    hint = None if ok else f"It is started again by itself; its log is {part['log']}."
    return Finding(name=name, ok=ok, detail=detail, hint=hint)


def _readiness(url: str, *, local_socket: str | None = None) -> Iterator[Finding]:
    """Say of each thing a server needs whether it reaches it."""
    try:
        answer = _asked(f"{url}/v1/ready", local_socket)
    except Unavailable as error:
        yield Finding(name="ready", ok=False, detail=f"{error.what}: {error.found}", hint=None)
        return
    details = answer.get("details") or {}
    checks = answer.get("checks") or details.get("checks")
    if not checks:
        found = str(details.get("found") or answer.get("title") or answer)
        yield Finding(name="ready", ok=False, detail=found, hint=details.get("hint"))
        return
    for name, state in checks.items():
        # Without a worker runs are kept all the same; only the lake and the search wait for it.
        ok = state == "ok" or name == "worker"
        yield Finding(
            name="jobs" if name == "worker" else name,
            ok=ok,
            detail=f"worker {state}" if name == "worker" else state,
            hint=None if ok else details.get("hint"),
        )


def _asked(address: str, local_socket: str | None) -> dict[str, Any]:
    import httpx

    try:
        transport = httpx.HTTPTransport(uds=local_socket)
        with httpx.Client(transport=transport, timeout=_PATIENCE_S) as client:
            return dict(client.get(address).json())
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable("the server does not answer", where=address, found=str(error)) from error
