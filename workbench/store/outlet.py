"""Where a spool is delivered: a server, each request sent once and nothing waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.errors import Unauthenticated
from workbench.store import manage
from workbench.store.ids import new_run_id
from workbench.store.protocol import Declared, Receipt
from workbench.store.redacting import SpoolRedaction
from workbench.store.rules import WorkspaceRules

if TYPE_CHECKING:
    from workbench.redaction import Layer
    from workbench.schema import RunHeader
    from workbench.store.wire import Wire

_LONGEST_S = 30.0  # for one answer: a server that hangs is left alone, and tried again


@dataclass(frozen=True, slots=True)
class Workspace:
    """Whose key it is."""

    workspace_id: str
    name: str


@dataclass(slots=True)
class Key:
    """A key, and whose it is from a server's first answer on."""

    known: Workspace | None = None

    def workspace(self, wire: Wire) -> Workspace:
        """Return whose it is; the server is asked where it is not known yet.

        Raises
        ------
        Unauthenticated
            The key is missing, unknown or expired.
        """
        if self.known is None:
            said = wire.get_json("/v1/health").get("workspace")
            if not said:
                raise Unauthenticated(
                    "the server does not know this key",
                    where=wire.url,
                    hint="set WORKBENCH_API_KEY",
                )
            self.known = Workspace(str(said["id"]), str(said["name"]))
        return self.known


class Outlet:
    """A server as a delivery needs it.

    Attributes
    ----------
    rules
        The workspace's rules as they were heard last, maybe long ago; None where they never were.
    """

    def __init__(self, wire: Wire, address: str, *, key: Key) -> None:
        self.address = address
        self._wire = wire.hasty(timeout_s=_LONGEST_S)
        self._key = key
        self._rules = WorkspaceRules(self._wire, address=address)
        self.rules = self._rules.last(self.workspace_id)

    @property
    def workspace_id(self) -> str | None:
        """The id of the workspace, or None where the server has not answered yet."""
        return None if self._key.known is None else self._key.known.workspace_id

    @property
    def workspace_name(self) -> str | None:
        """The name of the workspace, or None where the server has not answered yet."""
        return None if self._key.known is None else self._key.known.name

    def identify(self) -> str:
        """Return the id of the workspace; the server is asked where it is not known yet."""
        return self._key.workspace(self._wire).workspace_id

    def declare(self, header: RunHeader) -> Declared:
        """Make the run, or find that it is there."""
        self.identify()
        return declare(self._wire, header)

    def ask_rules(self) -> Layer:
        """Ask by which rules the workspace redacts."""
        self.rules = self._rules.ask(self.identify())
        return self.rules

    def redacting(self) -> SpoolRedaction:
        """Ask by which rules events have to be redacted, and return what does so."""
        return SpoolRedaction(self.ask_rules())

    def append_lines(self, run_id: str, lines: bytes) -> Receipt:
        """Store events that are lines of JSON, and ``{"bodies": …}`` lines ahead of them.

        All of it is stored or nothing.
        """
        said = self._wire.send_lines(f"/v1/runs/{run_id}/events", lines)
        return msgspec.convert(said, Receipt)

    def heartbeat(self, run_id: str) -> dict[str, Any]:
        """Say that a writer of the run is alive."""
        return manage.heartbeat(self._wire, run_id)


def declare(wire: Wire, header: RunHeader) -> Declared:
    """Create a run, or find that it exists with the same facts."""
    # the id is made here, so that a request sent twice makes one run
    known = header if header.run_id else msgspec.structs.replace(header, run_id=new_run_id())
    made = wire.send_json("POST", "/v1/runs", known)
    return Declared(
        run_id=str(made["run_id"]),
        created=bool(made["created"]),
        redaction=made.get("redaction") or {},
    )
