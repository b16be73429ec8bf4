"""API keys of a workspace: made, listed, rotated, revoked.

A key is 256 random bits, so its sha-256 tells a thief of the table nothing: there is no dictionary
to try. A slow hash is for secrets that people choose, and would have to be paid at each request.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import psycopg

from workbench.errors import Conflict, NotFound, UsageError
from workbench_server.database import transaction
from workbench_server.limits import check_text
from workbench_server.queries import queries
from workbench_server.workspaces import key_hash

if TYPE_CHECKING:
    from uuid import UUID

    from workbench_server.database import Pool

_ID_ALPHABET = string.ascii_lowercase + string.digits
_ALPHABET = string.ascii_letters + string.digits  # no signs: a double click takes it whole
_ID_LENGTH, _SECRET_LENGTH = 12, 43
_LONGEST_NAME = 200
_DAY_S = 86_400
_LONGEST_OVERLAP_S = 30 * _DAY_S
_LATEST = datetime.max.replace(tzinfo=UTC)

Facts = dict[str, Any]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a key that is to be made."""

    role: Literal["reader", "writer", "admin"]
    name: str | None = None
    expires_at: datetime | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the old key works beside the new one."""

    overlap_s: int = _DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A key as it is shown once; ``wbk_`` lets scanners and log filters find it."""

    key_id: str
    secret: str = field(repr=False)

    @property
    def prefix(self) -> str:
        return f"wbk_{self.key_id}"

    def facts(self) -> Facts:
        """Return what is stored of it."""
        return {
            "key_id": self.key_id,
            "prefix": self.prefix,
            "key_hash": key_hash(self.secret),
        }


def fresh_key() -> Fresh:
    """Draw a key; its public id stands in it, so that a key found somewhere can be named."""
    key_id = _drawn(_ID_ALPHABET, _ID_LENGTH)
    return Fresh(key_id=key_id, secret=f"wbk_{key_id}_{_drawn(_ALPHABET, _SECRET_LENGTH)}")


def _drawn(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


async def list_keys(pool: Pool, workspace_id: UUID) -> list[Facts]:
    """Return what may be shown of a workspace's keys, the oldest first."""
    async with transaction(pool, workspace_id) as connection:
        return await (await connection.execute(queries("access")["list_keys"])).fetchall()


async def create_key(pool: Pool, workspace_id: UUID, *, wanted: NewKey) -> tuple[Facts, str]:
    """Make a key; return what may be shown of it, and the key itself."""
    if wanted.name is not None:
        check_text(wanted.name, where="name", most=_LONGEST_NAME)
    if wanted.expires_at is not None:
        _check_moment(wanted.expires_at)
    made = fresh_key()
    asked = msgspec.structs.asdict(wanted)
    return await _one(pool, workspace_id, "create_key", asked | made.facts()), made.secret


def _check_moment(expires_at: datetime) -> None:
    is_moment = expires_at.tzinfo is not None and expires_at < _LATEST
    if not is_moment or expires_at <= datetime.now(UTC):
        raise UsageError(
            "a key expires in the future, at a time with a zone",
            where="expires_at",
            found=expires_at.isoformat(),
        )


async def rotate_key(
    pool: Pool, workspace_id: UUID, *, key_id: str, overlap_s: int
) -> tuple[Facts, str]:
    """Make a key in place of another, which ends after the overlap."""
    if not 0 <= overlap_s <= _LONGEST_OVERLAP_S:
        raise UsageError(
            "the overlap is out of range",
            where="overlap_s",
            expected=f"0 to {_LONGEST_OVERLAP_S} seconds",
            found=overlap_s,
        )
    made = fresh_key()
    facts = made.facts() | {"old": _known(key_id), "overlap_s": overlap_s}
    return await _one(pool, workspace_id, "rotate_key", facts), made.secret


async def revoke_key(pool: Pool, workspace_id: UUID, *, key_id: str) -> Facts:
    """End a key now; once more changes nothing."""
    return await _one(pool, workspace_id, "revoke_key", {"key_id": _known(key_id)})


def _known(key_id: str) -> str:
    if "\0" in key_id:
        raise _not_found(key_id)
    return key_id


def _not_found(key_id: str) -> NotFound:
    return NotFound(
        "the workspace has no key of this id",
        where=key_id[:80],
        hint="`workbench keys list` names them; the id is no part of the secret.",
    )


_REFUSED = {
    "api_keys_last_admin": (
        "the last admin key of the workspace cannot be revoked",
        "Make another admin key first: `workbench keys create --role admin`.",
    ),
    "api_keys_rotate_live": (
        "the key was rotated before, has expired or was revoked",
        "Rotate the key that took its place, or make a new one.",
    ),
}


async def _one(pool: Pool, workspace_id: UUID, query: str, facts: Facts) -> Facts:
    """Run a statement that answers with the key it made or changed."""
    try:
        async with transaction(pool, workspace_id) as connection:
            cursor = await connection.execute(queries("access")[query], facts)
            row = await cursor.fetchone()
    except psycopg.errors.CheckViolation as error:
        what, hint = _REFUSED[str(error.diag.constraint_name)]
        raise Conflict(what, where=_named(facts), hint=hint) from error
    if row is None:
        raise _not_found(_named(facts))
    return row


def _named(facts: Facts) -> str:
    return str(facts.get("old", facts["key_id"]))
