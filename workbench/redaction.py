"""Redact values by a workspace's rules before they are digested, signed and stored.

`redact` is pure. A placeholder is ``⟨name:HMAC-8⟩`` under the workspace's key, so equal texts stay
equal and nothing can be read back.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A name and a regular expression; every match becomes a placeholder of that name."""

    name: str
    pattern: str


def redact(value: Any, rules: Sequence[Rule], key: bytes) -> Any:
    r"""Return a JSON value with every match of every rule replaced, keys of objects included.

    Examples
    --------
    >>> redact({"to": "ann@example.org"}, [Rule(name="email", pattern=r"\S+@\S+")], b"k")
    {'to': '⟨email:41f24aa7⟩'}
    """
    if not rules:
        return value
    if isinstance(value, str):
        return _redact_text(value, rules, key)
    if isinstance(value, list):
        return [redact(item, rules, key) for item in value]
    if isinstance(value, dict):
        return {_redact_text(k, rules, key): redact(v, rules, key) for k, v in value.items()}
    return value


def _redact_text(text: str, rules: Sequence[Rule], key: bytes) -> str:
    for rule in rules:
        text = re.sub(rule.pattern, _Placeholder(rule.name, key), text)
    return text


class _Placeholder:
    def __init__(self, name: str, key: bytes) -> None:
        self.name = name
        self.key = key

    def __call__(self, match: re.Match[str]) -> str:
        mac = hmac.new(self.key, match[0].encode(), hashlib.sha256)
        return f"⟨{self.name}:{mac.hexdigest()[:8]}⟩"
