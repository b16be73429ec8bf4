"""Hold what is sent against its workspace's rules, and change these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workbench.errors import RedactionRequired
from workbench.hashing import digest_of
from workbench.redaction import Rule, check_rules
from workbench.redaction.events import rule_for_body, rule_for_event, rule_for_value
from workbench_server.database import transaction
from workbench_server.queries import queries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from workbench.schema import RunHeader, RunPatch
    from workbench_server.database import Pool

    Some = Sequence[Rule]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules of a workspace."""

    rules: list[Rule]


def check_event(event_type: str, payload: bytes, rules: Some, *, digest: str, where: str) -> None:
    """Refuse an event whose body a rule would still change."""
    rule = rule_for_event(event_type, msgspec.json.decode(payload), rules)
    if rule is not None:
        raise _required("an event", rule, digest=digest, where=where)


def check_body(body: bytes, rules: Some, *, digest: str, where: str) -> None:
    """Refuse a pooled message that a rule would still change."""
    rule = rule_for_body(msgspec.json.decode(body), rules)
    if rule is not None:
        raise _required("a message", rule, digest=digest, where=where)


def check_said(value: Any, rules: Some, *, where: str) -> None:
    """Refuse a JSON value that a rule would still change."""
    if rules and (rule := rule_for_value(value, rules)) is not None:
        raise _required("what is said of a run", rule, digest=digest_of(value), where=where)


def check_header(header: RunHeader, rules: Some) -> None:
    """Refuse a run's header whose name, session or labels a rule would still change."""
    if rules:
        said = {"name": header.name, "session": header.session, "labels": header.labels}
        check_said(said, rules, where="header")


def check_patch(patch: RunPatch, rules: Some) -> None:
    """Refuse a change of name or labels that a rule would still change."""
    if rules:
        check_said(msgspec.to_builtins(patch), rules, where="body")


def _required(what: str, rule: str, *, digest: str, where: str) -> RedactionRequired:
    return RedactionRequired(
        f"the workspace's rules would still change {what}",
        where=where,
        hint="Redact it by the rules of GET /v1/redaction, sign it anew and send it again.",
        digest=digest,
        rule=rule,
    )


# ---- the rules


async def rules_of(pool: Pool, workspace_id: UUID) -> dict[str, Any]:
    """Return the rules of a workspace, and the key of its placeholders."""
    return await _asked(pool, workspace_id, "redaction", {})


async def change_rules(pool: Pool, workspace_id: UUID, *, rules: list[Rule]) -> dict[str, Any]:
    """Put rules in the place of those there are; what is stored already stays as it is."""
    check_rules(rules)
    said = {"rules": msgspec.json.encode(rules).decode()}
    return await _asked(pool, workspace_id, "change_redaction", said)


async def _asked(
    pool: Pool, workspace_id: UUID, query: str, said: dict[str, Any]
) -> dict[str, Any]:
    async with transaction(pool, workspace_id) as connection:
        row = await (await connection.execute(queries("access")[query], said)).fetchone()
    found = row or {"rules": [], "key": b"", "key_version": 0}
    return {**found, "key": bytes(found["key"]).hex()}
