"""By which rules a replay redacts what its agent asks now: those its recording was redacted by.

Placeholders are made with a key, which no recording holds: it is the workspace's, or this
machine's. Where neither is at hand, or is another one, a text that the agent brings itself has
another placeholder than when it was recorded; one that it got from its input or a call has none.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any

from workbench.capture.redacting import AskedRedaction, redaction_by, rules_of
from workbench.errors import UsageError
from workbench.redaction import Layer, Rule, Wanted, check_rules, key_id, redact
from workbench.store.rules import local_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from workbench.recording import Recording


def wanted_for(source: Recording, store: object, given: Any) -> Wanted | None:
    """Return what a replay redacts by: as the recording tells, and as was given beside.

    Raises
    ------
    UsageError
        What was given is neither rule nor function.
    """
    own = Wanted.of(given) or Wanted()
    if not source.redaction:
        return own if own.rules or own.hook else None
    known = rules_of(store)
    keys = {key_id(key): key for key in _keys(known)}
    at_hand = (*own.rules, *(known.rules if known is not None else ()))
    layers = tuple(_layer(told, keys, at_hand) for told in source.redaction if "rules" in told)
    return Wanted(layers=layers, rules=own.rules, hook=own.hook)


def as_recorded(source: Recording, wanted: Wanted | None) -> Iterator[AskedRedaction]:
    """Yield what redacts as the recording was: at its end, and before rules came while it ran."""
    if wanted is None:
        return
    every = len(wanted.layers)
    for count in range(every, max(-1, every - source.redacted_later - 1), -1):
        redaction = redaction_by(dataclasses.replace(wanted, layers=wanted.layers[:count]), None)
        yield AskedRedaction(redaction)


def _keys(known: Layer | None) -> Iterable[bytes]:
    if known is not None:
        yield known.key
    yield local_key()


def _layer(told: dict[str, Any], keys: dict[str, bytes], at_hand: Sequence[Rule]) -> Layer:
    key = keys.get(str(told.get("key")), b"") or secrets.token_bytes(32)
    rules = (_rule(one, key, at_hand) for one in told["rules"])
    return Layer(rules=tuple(rule for rule in rules if rule is not None), key=key)


def _rule(told: dict[str, Any], key: bytes, at_hand: Sequence[Rule]) -> Rule | None:
    """Return a recorded rule; one that hid its own pattern is found among those at hand."""
    rule = Rule(name=str(told.get("name")), pattern=str(told.get("pattern")))
    for one in at_hand:
        hidden = (redact(one.pattern, rules, key) for rules in ([one], at_hand))
        if one.name == rule.name and rule.pattern in hidden:
            return one
    try:
        check_rules([rule])
    except UsageError:
        return None
    return rule


# ---- for the child of an isolated replay


def sent(wanted: Wanted | None) -> list[dict[str, Any]]:
    """Return as JSON what a child redacts by.

    Raises
    ------
    UsageError
        It is a function: it cannot be sent.
    """
    if wanted is None:
        return []
    if wanted.hook is not None:
        raise UsageError(
            "a function cannot be taken into an isolated replay",
            where="redact=",
            hint="give rules, or replay without isolate",
        )
    own = Layer(rules=wanted.rules, key=local_key())
    layers = [*wanted.layers, own] if own.rules else wanted.layers
    return [
        {"rules": [[r.name, r.pattern] for r in layer.rules], "key": layer.key.hex()}
        for layer in layers
    ]


def received(layers: list[dict[str, Any]]) -> Wanted | None:
    """Return what was sent to a child."""
    if not layers:
        return None
    return Wanted(
        layers=tuple(
            Layer(
                rules=tuple(Rule(name=name, pattern=pattern) for name, pattern in layer["rules"]),
                key=bytes.fromhex(layer["key"]),
            )
            for layer in layers
        )
    )
