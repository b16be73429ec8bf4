"""The verb: whether a run, a certificate or a bundle still is what it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785

from workbench import hashing
from workbench.errors import ArtifactNotFound, FormatError, NotFound, UsageError
from workbench.replay import certificate, keeping
from workbench.replay.again import check_again
from workbench.replay.checking import Check, check_log, same
from workbench.store import BundleStore, read
from workbench.store import bundle as bundles
from workbench.store.run import Run

if TYPE_CHECKING:
    from os import PathLike

    from workbench.recording import Recording
    from workbench.store.protocol import Store

_CALLED = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found: ``ok`` where every check is. Printed, it is a table of them."""

    ok: bool
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """The checks that are not ok."""
        return [check for check in self.checks if not check.ok]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {"ok": self.ok, "checks": [check.as_dict() for check in self.checks]}

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [line for check in self.checks for line in _lines(check, width)]
        count = len(self.failed)
        lines.append("verified" if self.ok else f"NOT verified: {count} of {len(self.checks)} fail")
        return "\n".join(lines)


def _lines(check: Check, width: int) -> list[str]:
    said = "ok" if check.ok else "FAILED"
    lines = [f"{check.name:{width}}  {said}  {check.where or ''}".rstrip()]
    if not check.ok or check.found is not None:
        sides = (("expected", check.expected), ("found", check.found))
        lines += [f"{'':{width}}  {side} {value}" for side, value in sides if value is not None]
    return lines


def verify(
    what: Run | str | PathLike[str],
    *,
    rerun: bool = False,
    agent: Any = None,
    isolate: bool = True,
    store: Store | None = None,
) -> Verified:
    """Check that nothing of a recording, or of a replay's certificate, was changed.

    Every event, message and artifact is hashed again, every request signed again, the order and
    the number of events checked, and all of it compared with the certificate. This states
    integrity, not authorship: who changes a recording and hashes all of it anew is found only by
    ``rerun``, and only where something later depends on what was changed.

    Parameters
    ----------
    what
        A run; a bundle; or a certificate's file, which lies beside the exported runs it is of
        unless ``store`` is given.
    rerun
        Also run the agent's real code again, isolated, and compare what comes of it.
    agent
        As in `workbench.replay`; default the one the run names.
    isolate
        False to run it again in this process, guarded, where it cannot be isolated.
    store
        Where the runs of a certificate's file lie.

    Returns
    -------
    Verified
        What does not hold is a value: see its ``checks``.

    Raises
    ------
    UsageError
        There is no such file, or nothing to compare it with.
    NotReplayable, RecordingIncomplete
        It cannot be run again.

    Examples
    --------
    >>> store = wb.open("datasets")
    >>> run = store.run(store.runs()["run_id"][0])
    >>> wb.verify(run).ok
    True
    """
    if isinstance(what, Run):
        subject = _Subject(runs={_CALLED: what}, raw=keeping.kept(what), where=what.run_id)
        named = what.labels.get(keeping.LABEL)
        if subject.raw is None and named is not None:
            said = f"{named} is not here, and was not looked at"
            subject.checks.append(Check(name="certificate", ok=True, found=said))
        return _verified(subject, rerun=rerun, agent=agent, isolate=isolate)
    path = Path(what)
    if not path.is_file():
        raise UsageError(
            "there is no such file",
            where=str(what),
            hint="a run is given as store.run(…), a certificate or bundle by its path",
        )
    if path.suffix == ".zip" or bundles.looks_like_one(path):
        return _verify_bundle(path, rerun=rerun, agent=agent, isolate=isolate)
    with _beside(path, store) as opened:
        subject = _Subject(raw=path.read_bytes(), where=str(path), store=opened)
        return _verified(subject, rerun=rerun, agent=agent, isolate=isolate)


def _verify_bundle(path: Path, *, rerun: bool, agent: Any, isolate: bool) -> Verified:
    try:
        with BundleStore(path) as opened:
            subject = _Subject(
                raw=opened.certificate,
                where=str(path),
                store=opened,
                checks=[
                    Check(name="bundle", ok=bundles.is_as_written(path), where=str(path)),
                ],
            )
            return _verified(subject, rerun=rerun, agent=agent, isolate=isolate)
    except FormatError as error:
        return _result([Check(name="bundle", ok=False, where=str(path), found=str(error))])


class _Open:
    """A store that somebody else closes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *_: object) -> None:
        pass


def _beside(path: Path, store: Store | None) -> Any:
    """Return the store that a certificate's runs lie in."""
    if store is not None:
        return _Open(store)
    try:
        return read(path.parent)
    except FormatError as error:
        raise UsageError(
            "a certificate is compared with the runs it is of",
            where=str(path),
            found=error.what,
            hint="name their store (store=…, --store), or make a bundle",
        ) from error


# ---- what is checked


@dataclass(kw_only=True)
class _Subject:
    """What is verified: a certificate's bytes, and the runs it is of as far as they are at hand."""

    raw: bytes | None
    where: str
    store: Store | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


def _verified(subject: _Subject, *, rerun: bool, agent: Any, isolate: bool) -> Verified:
    checks = subject.checks
    document: dict[str, Any] | None = None
    if subject.raw is not None:
        document, found = _check_certificate(subject.raw, subject.where)
        checks += found
        if document is None:
            return _result(checks)
        _find_runs(subject, document)
    read = {side: _check_run(subject, side, document) for side in subject.runs}
    if document is not None:
        checks += _check_counts(document, read)
    if rerun:
        if all(check.ok for check in checks):
            checks += check_again(_sides(subject), document, agent=agent, isolate=isolate)
        else:
            checks.append(Check(name="rerun", ok=False, found="not run: it does not hold as it is"))
    return _result(checks)


def _result(checks: list[Check]) -> Verified:
    return Verified(ok=all(check.ok for check in checks), checks=checks)


def _sides(subject: _Subject) -> dict[str, Run]:
    return {"source" if side == _CALLED else side: run for side, run in subject.runs.items()}


def _check_certificate(raw: bytes, where: str) -> tuple[dict[str, Any] | None, list[Check]]:
    """Return a certificate whose own digest holds, or None, and what was found."""
    try:
        document = certificate.load(raw, where=where)
        written, digest = certificate.dumps(document), certificate.digest_of(document)
    except (FormatError, rfc8785.CanonicalizationError, RecursionError) as error:
        return None, [Check(name="certificate", ok=False, where=where, found=str(error))]
    checks = [
        same("certificate.digest", document.get("digest"), digest, where=where),
        Check(name="certificate.form", ok=written == raw, where=None if written == raw else where),
        same("certificate.roots", hashing.ROOTS_VERSION, document.get("roots"), where=where),
    ]
    return (document if all(check.ok for check in checks) else None), checks


def _find_runs(subject: _Subject, document: dict[str, Any]) -> None:
    """Find the runs that a certificate is of; one of them has to be there."""
    given = subject.runs.pop(_CALLED, None)
    store = subject.store if given is None else given.store
    for side, run_id in certificate.sides(document).items():
        found = given if given is not None and given.run_id == run_id else _run(store, run_id)
        if found is not None:
            subject.runs[side] = found
        else:
            said = f"run {run_id} is not here, and was not looked at"
            subject.checks.append(Check(name=side, ok=True, found=said))
    if not subject.runs or (given is not None and given not in subject.runs.values()):
        wanted = sorted(certificate.sides(document).values())
        where = subject.where if given is None else given.run_id
        subject.checks.append(Check(name="runs", ok=False, where=where, expected=wanted))


def _run(store: Store | None, run_id: str) -> Run | None:
    try:
        return None if store is None else store.run(run_id)
    except NotFound:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read of a run: its recording, and how many calls say which match level."""

    recording: Recording
    levels: dict[str, int]


def _check_run(subject: _Subject, side: str, document: dict[str, Any] | None) -> _Read | None:
    """Check one run by itself, and against what its certificate says of it."""
    run = subject.runs[side]
    try:
        log, bodies = run.event_log(), run.bodies()
    except FormatError as error:
        subject.checks.append(Check(name=f"{side}.readable", ok=False, found=str(error)))
        return None
    found, read = check_log(log, bodies)
    found += _check_artifacts(run, log)
    if document is not None and read is not None:
        now = certificate.facts(read, run.info)
        said = document[side]
        found += [same(name, said.get(name), value) for name, value in now.items()]
    subject.checks += [_named(side, check) for check in found]
    if read is None:
        return None
    levels = Counter(str(e.match_level) for e in log if e.event_type == "call_started")
    return _Read(recording=read, levels=dict(sorted(levels.items())))


def _named(side: str, check: Check) -> Check:
    return Check(**{**check.as_dict(), "name": f"{side}.{check.name}"})


def _check_artifacts(run: Run, log: list[Any]) -> list[Check]:
    """Check each artifact that a run made, as far as its bytes are in the store."""
    if not any(event.event_type == "artifact_created" for event in log):
        return []
    for sha256 in sorted(bundles.made_by(run)):
        try:
            found = hashing.sha256_hex(run.store.get_artifact(sha256))
        except ArtifactNotFound:
            continue
        if found != sha256:
            return [same("artifacts", sha256, found)]
    return [Check(name="artifacts", ok=True)]


def _check_counts(document: dict[str, Any], read: dict[str, _Read | None]) -> list[Check]:
    """Check what a certificate counts against the runs themselves."""
    checks = []
    source, made = read.get("source"), read.get("replay")
    if source is not None:
        recorded = document["calls"]["recorded"]
        checks.append(same("calls", recorded, len(source.recording.calls)))
    if made is not None:
        checks.append(same("match_levels", document["match_levels"], made.levels))
    if document["identical"] and document.get("mode") == "exact":
        roots = [(document[side] or {}).get("content_root") for side in ("source", "replay")]
        checks.append(same("identical", *roots))
    return checks
