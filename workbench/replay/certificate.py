"""What a replay proves, as one JSON document. It states integrity, not authorship."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from workbench import hashing

if TYPE_CHECKING:
    from workbench.recording import Recording
    from workbench.replay.playing import Played

FORMAT = "workbench-certificate"
CLAIMS = {"guarded": "no new connection from Python", "isolated": "no call outside"}
"""What each strength of isolation promises of a replay."""


def certificate(
    played: Played,
    *,
    source: Recording,
    source_id: str,
    made: Recording | None,
    made_id: str,
    code: dict[str, Any],
    strength: str,
) -> dict[str, Any]:
    """Return the certificate of a replay; every count is of calls really consumed."""
    levels = Counter(answer.match_level for answer in played.answered)
    return {
        "format": FORMAT,
        "version": 1,
        "mode": played.mode,
        "strength": strength,
        "claim": CLAIMS[strength],
        "identical": played.identical,
        "calls": {
            "recorded": len(source.calls),
            "asked": len(played.answered),
            "consumed": len({a.source_seq for a in played.answered if a.source_seq is not None}),
            "unconsumed": played.unconsumed,
        },
        "match_levels": dict(sorted(levels.items())),
        "source": {"run_id": source_id, **_roots(source)},
        "replay": {"run_id": made_id, **(_roots(made) if made else {})},
        "code": {
            "recorded": hashing.digest_of(_code(source)),
            "now": hashing.digest_of(code.get("modules") or code.get("functions") or {}),
            "modules": code.get("modules") or {},
            "distributions": hashing.digest_of(code.get("distributions") or {}),
        },
        "rules": hashing.digest_of(list(source.redaction)),
        "normalisers": played.normalisers,
        "renamed": played.renamed,
        "divergences": [found.as_dict() for found in played.divergences],
        "notices": [found.as_dict() for found in played.notices],
        "states": "integrity, not authorship",
    }


def _roots(recording: Recording) -> dict[str, str]:
    return {"log_root": recording.log_root, "content_root": recording.content_root}


def _code(recording: Recording) -> Any:
    code = recording.started.code if recording.started else {}
    return code.get("modules") or code.get("functions") or {}
