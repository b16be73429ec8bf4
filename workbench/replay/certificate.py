"""What a recording is, or what a replay of it proves, as one JSON document.

It states integrity, not authorship. Its bytes are canonical (RFC 8785), and ``digest`` is the
sha-256 over all the rest: whoever has the document can tell that nothing of it was changed since.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import rfc8785

from workbench import hashing
from workbench.capture import values
from workbench.errors import MalformedFile, UnknownFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workbench.frames import Written
    from workbench.recording import Recording
    from workbench.replay.playing import Played

FORMAT, VERSION = "workbench-certificate", 2
CLAIMS = {"guarded": "no new connection from Python", "isolated": "no call outside"}
"""What each strength of isolation promises of a replay."""

_HEADER = (
    "run_id", "agent", "source", "session", "mode", "parent_run_id", "forked_at", "edits_hash",
)  # fmt: skip
_LARGEST = 2**53 - 1  # beyond it RFC 8785 has no numbers


# such an answer comes in the place of a recorded one, which nobody is given
_REPLACING = frozenset({"live", "simulated"})


def certificate(
    played: Played,
    *,
    source: Recording,
    source_row: Mapping[str, Any],
    made: Recording | Written | None,
    made_row: Mapping[str, Any],
    code: dict[str, Any],
    strength: str,
) -> dict[str, Any]:
    """Return the certificate of a replay; every count is of calls really consumed.

    Of the ``recorded`` calls some were ``consumed``, ``replaced`` by a live or simulated answer, or
    ``unconsumed``: nobody asked for them.

    Parameters
    ----------
    played, source, made
        What was played, its recording, and the new run, where that could be read.
    source_row, made_row
        The rows of the two runs in their stores.
    code
        The fingerprint of the agent that was replayed.
    strength
        ``guarded`` or ``isolated``.
    """
    replay = {"run_id": str(made_row["run_id"])} if made is None else facts(made, made_row)
    return _sealed(
        {
            **_agent(source, code),
            **counted(played, source, strength=strength),
            "source": facts(source, source_row),
            "replay": replay,
            "normalisers": played.normalisers,
            "renamed": played.renamed,
            "divergences": [found.as_dict() for found in played.divergences],
            "notices": [found.as_dict() for found in played.notices],
        }
    )


def counted(played: Played, source: Recording, *, strength: str) -> dict[str, Any]:
    """Return what a certificate says of the calls of a replay, and of how they were answered."""
    levels = Counter(answer.match_level for answer in played.answered)
    consumed = bytearray(len(source.calls))
    for answer in played.answered:
        own = answer.source_run_id is None and answer.match_level not in _REPLACING
        number = source.calls.number_of(answer.source_seq or 0) if own else None
        if number is not None:
            consumed[number] = True
    return {
        "policy": played.policy,
        "mode": played.mode,
        "strength": strength,
        "claim": CLAIMS[strength],
        "identical": played.identical,
        "calls": {
            "recorded": len(source.calls),
            "asked": len(played.answered),
            "consumed": sum(consumed),
            "replaced": len(source.calls) - sum(consumed) - played.unconsumed,
            "unconsumed": played.unconsumed,
        },
        "match_levels": dict(sorted(levels.items())),
    }


def of_recording(source: Recording, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate of a run that was not replayed: what it is, and nothing more."""
    code = source.started.code if source.started else {}
    return _sealed(
        {
            **_agent(source, code),
            "claim": None,
            "identical": None,
            "calls": {"recorded": len(source.calls)},
            "match_levels": {},
            "source": facts(source, row),
            "replay": None,
        }
    )


def facts(recording: Recording | Written, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a certificate says of a run: by these it is known again.

    ``header`` is over what was said of the run when it was made, ``bodies`` over the digests of
    its pooled messages. A run's name and labels may change, and are in none of them.
    """
    return {
        "run_id": str(row["run_id"]),
        "events": recording.events,
        "first_seq": recording.first_seq,
        "last_seq": recording.last_seq,
        "writers": recording.writers,
        "header": hashing.digest_of({name: row.get(name) for name in _HEADER}),
        "bodies": bodies_root(recording.bodies),
        "log_root": recording.log_root,
        "content_root": recording.content_root,
    }


def sides(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the runs a certificate is of: ``source`` and, of a replay, ``replay`` → run id."""
    found = {side: document.get(side) for side in ("source", "replay")}
    return {side: str(said.get("run_id")) for side, said in found.items() if isinstance(said, dict)}


def bodies_root(digests: Iterable[str]) -> str:
    """Return the root over the digests of pooled messages."""
    return hashing.merkle_root(digest.encode() for digest in sorted(digests))


def _agent(source: Recording, code: dict[str, Any]) -> dict[str, Any]:
    """Return which code was recorded and is there now; ``modules`` and all else are those now."""
    then = source.started.code if source.started else {}
    installed = dict(code.get("distributions") or {})
    return {
        "agent": source.started.entry_point if source.started else None,
        "code": {
            "recorded": hashing.digest_of(_own(then)),
            "now": hashing.digest_of(_own(code)),
            "agent": code.get("agent"),
            "modules": code.get("modules") or {},
            "functions": code.get("functions") or {},
        },
        "python": installed.pop("python", None),
        "distributions": installed,
        "rules": hashing.digest_of(list(source.redaction)),
    }


def _own(code: dict[str, Any]) -> Any:
    return code.get("modules") or code.get("functions") or {}


# ---- as a document


def _sealed(said: dict[str, Any]) -> dict[str, Any]:
    document = {
        "format": FORMAT,
        "version": VERSION,
        "roots": hashing.ROOTS_VERSION,
        **_sayable(values.freeze(said)[0]),
        "states": "integrity, not authorship",
    }
    return {**document, "digest": digest_of(document)}


def _sayable(value: Any) -> Any:
    """Return JSON without the numbers that a canonical document cannot hold."""
    if type(value) is dict:
        return {key: _sayable(item) for key, item in value.items()}
    if type(value) is list:
        return [_sayable(item) for item in value]
    if type(value) is int and not -_LARGEST <= value <= _LARGEST:
        return {"$type": "int", "$value": str(value)}
    return value


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the hex sha-256 of a certificate without its digest."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashing.sha256_hex(rfc8785.dumps(rest))


def dumps(document: Mapping[str, Any]) -> bytes:
    """Return a certificate as it is written to a file: each has one form only."""
    return rfc8785.dumps(dict(document))


def load(raw: bytes, *, where: str) -> dict[str, Any]:
    """Read a certificate; whether it holds is for `workbench.verify` to say.

    Raises
    ------
    UnknownFormat
        It is something else, or of a version that this one does not know.
    MalformedFile
        It is no JSON.
    """
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile(
            "the certificate cannot be read", where=where, found=str(error)
        ) from error
    said = (found.get("format"), found.get("version")) if isinstance(found, dict) else None
    if said != (FORMAT, VERSION):
        raise UnknownFormat(
            "this is no certificate, or one of another version",
            where=where,
            expected=f"{FORMAT} {VERSION}",
            found=said,
        )
    try:
        msgspec.convert(found, _Form)
    except msgspec.ValidationError as error:
        raise MalformedFile(
            "the certificate lacks something", where=where, found=str(error)
        ) from error
    return dict(found)


class _Side(msgspec.Struct):
    """What a certificate says of a run at the least."""

    run_id: str
    content_root: str = ""


class _Form(msgspec.Struct):
    """What every certificate has."""

    source: _Side
    replay: _Side | None
    identical: bool | None
    calls: dict[str, int]
    match_levels: dict[str, int]
    code: dict[str, Any]
    distributions: dict[str, str]
    agent: str | None
    python: str | None
    mode: str | None = None
