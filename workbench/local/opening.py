"""``wb.open``: one way to every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import UsageError
from workbench.settings import Settings

if TYPE_CHECKING:
    from os import PathLike

    from workbench.store import Store


def open(  # noqa: A001 - `wb.open` is the public name
    target: str | PathLike[str] | None = None, *, workspace: str | None = None, check: bool = True
) -> Store:
    """Open a store of runs.

    Parameters
    ----------
    target
        Nothing for ``WORKBENCH_URL`` or, where that is not set, the local stack under
        ``WORKBENCH_HOME``, which is started if it does not run; ``http(s)://…`` for a server, with
        the key in ``WORKBENCH_API_KEY``; a folder or ``s3://…`` of exported runs, read without any
        service.
    workspace
        The workspace of the local stack, made at first use (default: ``WORKBENCH_WORKSPACE``, else
        ``default``). A server's key decides the workspace by itself.
    check
        False to ask nothing of a server now: an agent can be recorded into the store while the
        server is down, and reading it raises `Unavailable` until it is up.

    Returns
    -------
    Store
        Open until its ``close``, and a context manager. A local stack that was started here ends
        ten minutes after the last store on it was closed.

    Raises
    ------
    HomeUnreadable, PortInUse, StackFailed
        The local stack could not be used or started.
    Unavailable, Unauthenticated
        The server cannot be reached, or does not know the key.
    UsageError
        The key belongs to another workspace, or whose it is was not to be asked.
    """
    from workbench.store import read

    settings = Settings.from_environment()
    address = str(target) if target is not None else settings.url
    if address is None:
        return _open_local(workspace or settings.workspace)
    if address.startswith(("http://", "https://")):
        return _open_server(address, settings.api_key, workspace=workspace, check=check)
    return read(address)


def _open_server(address: str, key: str | None, *, workspace: str | None, check: bool) -> Store:
    from workbench.store import connect

    if workspace is not None and not check:
        raise UsageError(
            "whose key this is can only be told by asking the server",
            where=address,
            hint="Leave `workspace` out: WORKBENCH_API_KEY decides it.",
        )
    store = connect(address, key, check=check)
    if workspace is not None and store.workspace != workspace:
        store.close()
        raise UsageError(
            "the key belongs to another workspace",
            where=address,
            expected=workspace,
            found=store.workspace,
            hint="WORKBENCH_API_KEY decides the workspace of a server.",
        )
    return store


def _open_local(workspace: str) -> Store:
    from workbench.local.client import lease, workspace_key
    from workbench.local.home import home_at
    from workbench.local.store import LocalStore

    home = home_at()
    held = lease(home)
    try:
        return LocalStore(held, workspace_key(home, workspace=workspace))
    except BaseException:
        held.close()
        raise
