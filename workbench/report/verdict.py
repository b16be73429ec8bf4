"""What a run's row says about how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

_GOOD_IF_TRUE = ("success", "succeeded", "passed", "pass", "correct", "resolved", "utility")
_BAD_IF_TRUE = ("attack_succeeded", "attack_success", "incident", "complaint")
_SCORES = ("reward", "score")
_BAD_WORDS = (
    "failed",
    "fail",
    "failure",
    "error",
    "wrong",
    "incorrect",
    "unresolved",
    "complaint",
    "negative",
)
_OUTCOMES = ("outcome", "result", "verdict", "feedback")
_BAD_STATUS = {
    "failed": "the run failed",
    "diverged": "the run diverged",
    "lost": "the run was lost",
    "cancelled": "the run was cancelled",
}
OUTCOME_LABELS = (*_GOOD_IF_TRUE, *_BAD_IF_TRUE, *_SCORES, *_OUTCOMES, "security")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``reasons`` why a run counts as bad; ``known`` is false where nothing says how it went."""

    reasons: tuple[str, ...]
    known: bool

    @property
    def bad(self) -> bool:
        """Whether anything says the run went wrong."""
        return bool(self.reasons)


def labels_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels of a row of runs."""
    labels = row.get("labels") or "{}"
    return dict(labels if isinstance(labels, dict) else orjson.loads(labels))


def verdict(row: Mapping[str, Any]) -> Verdict:
    """Judge a run by its status and by labels that state an outcome, and by nothing else."""
    status = str(row.get("status"))
    reasons = [_BAD_STATUS[status]] if status in _BAD_STATUS else []
    if row.get("health") not in (None, "ok"):
        reasons.append(f"its log has the health {row['health']}")
    labels = labels_of(row)
    judged = {key: _judged(key, value, labels) for key, value in labels.items()}
    reasons += sorted({reason for reason in judged.values() if reason})
    known = status in (*_BAD_STATUS, "done") or any(v is not None for v in judged.values())
    return Verdict(reasons=tuple(reasons), known=known)


def _judged(key: str, value: Any, labels: Mapping[str, Any]) -> str | None:
    """Return why the label is bad, "" where it is good, None where it states no outcome."""
    # "security" is AgentDojo's word: the injected task's own check, always true without an attack
    attack = key in _BAD_IF_TRUE or (key == "security" and labels.get("attack") is not None)
    if isinstance(value, bool):
        if attack:
            return f"{_words(key)}" if value else ""
        if key in _GOOD_IF_TRUE:
            return "" if value else _failed(key)
    elif key in _SCORES and isinstance(value, int | float):
        return "" if value >= 1 else "task failed"
    elif key in _OUTCOMES and isinstance(value, str):
        return f"{key} {value}" if value.lower() in _BAD_WORDS else ""
    return None


def _words(key: str) -> str:
    return "attack succeeded" if key in ("security", "attack_success") else key.replace("_", " ")


def _failed(key: str) -> str:
    return f"not {key}" if key in ("correct", "resolved") else "task failed"
