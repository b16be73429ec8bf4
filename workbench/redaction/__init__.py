"""Redact values by rules before they are digested, signed and stored. Pure."""

from workbench.redaction.layers import Layer, Redaction, Wanted
from workbench.redaction.text import Rule, check_rules, key_id
from workbench.redaction.values import redact

__all__ = ["Layer", "Redaction", "Rule", "Wanted", "check_rules", "key_id", "redact"]
