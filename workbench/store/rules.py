"""The rules of a server's workspace: asked, kept on this machine, and what holds where neither is.

A workspace whose rules were never seen here, and cannot be asked, is recorded by the built-in
ones: what lies on the disk is then held against its own when it is delivered.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workbench.errors import NotFound, WorkbenchError
from workbench.redaction import Layer, Rule
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.store.wire import Wire

log = logging.getLogger("workbench.redaction")

BUILT_IN = (
    Rule(
        name="email",
        pattern=r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}",
    ),
    Rule(
        name="private_key",
        pattern=r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,20000}"
        r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
    ),
    Rule(name="token", pattern=r"\beyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{8,2000}"),
    Rule(name="token", pattern=r"(?i)\bbearer\s{1,4}[\w.~+/-]{16,2000}={0,2}"),
    Rule(
        name="api_key",
        pattern=r"\b(?:AKIA[0-9A-Z]{16}|AIza[\w-]{35}"
        r"|(?:sk|pk|rk|wbk|ghp|gho|ghs|github_pat|glpat|hf|xox[abprs])[-_][\w-]{16,200})",
    ),
    Rule(name="card", pattern=r"\b[3-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{2,4}\b"),
    Rule(name="iban", pattern=r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
)
_KEY_BYTES = 32


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace said last, and whose it is; ``opener`` is the hash of the API key."""

    address: str
    workspace: str
    opener: str
    rules: list[Rule]
    key: str
    key_version: int

    @property
    def layer(self) -> Layer:
        return Layer(rules=tuple(self.rules), key=bytes.fromhex(self.key), version=self.key_version)


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    rules: list[Rule]
    key: str
    key_version: int


class WorkspaceRules:
    """The rules of the workspace that a key opens at an address."""

    def __init__(self, wire: Wire, *, address: str) -> None:
        self._wire = wire
        self._address = address
        self._opener = hashlib.sha256(f"{address}\n{wire.api_key or ''}".encode()).hexdigest()

    def ask(self, workspace_id: str) -> Layer:
        """Ask the server, and keep on this machine what it says.

        Raises
        ------
        Unavailable
            The server cannot be reached.
        Forbidden
            The API key may only read.
        """
        try:
            raw = self._wire.get("/v1/redaction")
        except NotFound:  # a server of an earlier version
            return Layer(key=local_key())
        said = msgspec.json.decode(raw, type=_Answer)
        seen = _Seen(
            address=self._address,
            workspace=workspace_id,
            opener=self._opener,
            rules=said.rules,
            key=said.key,
            key_version=said.key_version,
        )
        _keep(seen)
        return seen.layer

    def last(self, workspace_id: str | None) -> Layer | None:
        """Return what was said last; of a workspace that is not known yet, to the same API key."""
        if workspace_id is not None:
            seen = _read(_path(self._address, workspace_id))
            return None if seen is None else seen.layer
        for path in sorted(_folder().glob("*.json")):
            seen = _read(path)
            if seen is not None and (seen.address, seen.opener) == (self._address, self._opener):
                return seen.layer
        return None


def unknown() -> Layer:
    """Return what holds for a workspace that was never seen here and cannot be asked."""
    return Layer(rules=BUILT_IN, key=local_key())


def local_key() -> bytes:
    """Return this machine's own placeholder key; where no disk keeps one it lasts for once."""
    path = _folder() / "key"
    with suppress(OSError, ValueError):
        return _checked(bytes.fromhex(path.read_text()))
    made = secrets.token_bytes(_KEY_BYTES)
    try:
        _write(path, made.hex().encode(), over=False)
        return _checked(bytes.fromhex(path.read_text()))
    except (OSError, ValueError) as error:
        log.warning("the placeholder key cannot be kept: %s", error)
        return made


def _checked(key: bytes) -> bytes:
    if len(key) != _KEY_BYTES:
        raise ValueError("the placeholder key is damaged")
    return key


# ---- on this machine


def _folder() -> Path:
    return Settings.from_environment().home / "redaction"


def _path(address: str, workspace_id: str) -> Path:
    name = hashlib.sha256(f"{address}\n{workspace_id}".encode()).hexdigest()
    return _folder() / f"{name[:32]}.json"


def _read(path: Path) -> _Seen | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Seen)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _keep(seen: _Seen) -> None:
    path = _path(seen.address, seen.workspace)
    if _read(path) == seen:
        return
    try:
        _write(path, msgspec.json.encode(seen), over=True)
    except (OSError, WorkbenchError) as error:
        log.warning("the workspace's rules cannot be kept: %s", error)


def _write(path: Path, data: bytes, *, over: bool) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if over:
            Path(name).replace(path)
        else:
            with suppress(FileExistsError):  # another process was first
                os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
