"""Answers what an agent asks from a recording, or says how it differs. No input or output.

The caller holds a lock: positions are taken one at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.recording import NEVER
from workbench.replay import explaining, normal
from workbench.replay.divergence import pointer_diff
from workbench.replay.elsewhere import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from workbench.capture.normalise import Normalise
    from workbench.recording import RecordedCall, Recording
    from workbench.replay.divergence import Divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an agent asks: where, and the stored form of it."""

    kind: str
    name: str
    lane: str
    ordinal: int
    signature: str
    request: dict[str, Any]
    bodies: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    order: str = "declared"
    streams: bool = False
    tool_call_id: str | None = None
    normalise: Normalise | None = None
    # live messages in it stand as the recorded ones in whose place they came
    drifted: bool = False


class Match(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False):  # it holds no circles
    """The recorded call that answers a question, and how well it fits.

    ``renamed`` maps the provider's ids of the question to those that were recorded in their place;
    ``bodies`` and ``run_id`` are given where it is a call of another run.
    """

    call: RecordedCall
    level: str
    renamed: Mapping[str, str] | None = None
    bodies: Mapping[str, dict[str, Any]] | None = None
    run_id: str | None = None


class Engine:
    """Matches questions to the calls of one recording, each of which answers once.

    ``normalise`` says, by the name of a call, what of its request may differ: a function, which
    takes the place of the one it was decorated with, or JSON pointers, which are added to it.
    """

    def __init__(
        self, recording: Recording, *, normalise: Mapping[str, Normalise] | None = None
    ) -> None:
        self.recording = recording
        self._given = dict(normalise or {})
        self._calls = recording.calls
        # by the number of a call
        self._used = bytearray(len(self._calls))
        self._left = len(self._calls)
        self._left_in = Counter(self._calls.lanes_of)
        self.elsewhere = Elsewhere()
        # by the name of their calls: normalisers that found a match, and what others raised
        self.normalisers: dict[str, tuple[Normalise, ...]] = {}
        self.failed: dict[str, str] = {}
        # {seq, asked, recorded}: ids of providers that were taken for one another, each pair once
        self.renamed: list[dict[str, Any]] = []

    # ---- matching

    def exact(self, asked: Question) -> Match | None:
        """Return the recorded call at this position if its signature is the same."""
        return self.at_once(asked.lane, asked.ordinal, asked.signature)

    def at_once(self, lane: str, ordinal: int, signature: str) -> Match | None:
        """Return what `exact` does, of whom nothing but this is known."""
        number = self._calls.number_at(lane, ordinal)
        if number is None or self._used[number] or self._calls.signature(number) != signature:
            return None
        call = self._calls[number]
        return self._use(call, "exact_redacted" if call.quality == "redacted" else "exact")

    def cached(self, asked: Question) -> Match | None:
        """Return the first recorded call that answers, from the best level to the least."""
        found = self.exact(asked)
        if found is not None:
            return found
        here = self.recording.at(asked.lane, asked.ordinal)
        if here is not None and self.is_unused(here):
            found = self._normalised(asked, here)
            if found is not None:
                return found
        by_lane, by_signature = self._waiting
        for level, waiting in (
            ("lane", by_lane.get((asked.lane, asked.signature))),
            ("run", by_signature.get(asked.signature)),
        ):
            call = self._first(waiting)
            if call is not None:
                self.passed_over(asked, by=call)
                return self._use(call, level)
        return None

    @cached_property
    def _waiting(self) -> tuple[dict[tuple[str, str], list[int]], dict[str, list[int]]]:
        """The calls by (lane, signature) and by signature, made where a position does not match.

        The first stands last. What never came back answers at its own position only.
        """
        calls = self._calls
        by_lane: dict[tuple[str, str], list[int]] = defaultdict(list)
        by_signature: dict[str, list[int]] = defaultdict(list)
        for number in reversed(range(len(calls))):
            if not self._used[number] and calls.ended_seqs[number] != NEVER:
                signature = calls.signature(number)
                by_lane[calls.lanes_of[number], signature].append(number)
                by_signature[signature].append(number)
        return dict(by_lane), dict(by_signature)

    def _first(self, waiting: list[int] | None) -> RecordedCall | None:
        while waiting and self._used[waiting[-1]]:
            waiting.pop()
        return self._calls[waiting[-1]] if waiting else None

    def _normalised(self, asked: Question, call: RecordedCall) -> Match | None:
        if (asked.kind, asked.name) != (call.kind, call.name):
            return None
        normalisers = self.normalisers_of(asked)
        try:
            mine, theirs = self.forms(asked, call, normalisers)
        except Exception as error:
            if not normalisers:
                raise
            self.failed[asked.name] = repr(error)
            return None
        if not normal.equal(mine.request, theirs.request):
            return None
        if normalisers:
            self.normalisers[asked.name] = normalisers
        renamed = normal.renamed(mine, theirs)
        self._keep(renamed, call.seq)
        return self._use(call, "normalised", renamed=renamed or None)

    def normalisers_of(self, asked: Question) -> tuple[Normalise, ...]:
        """Return what says what of a request may differ: given for the replay, or decorated."""
        both = (self._given.get(asked.name), asked.normalise)
        found = tuple(one for one in both if one is not None)
        return found[:1] if found and callable(found[0]) else found

    def forms(
        self, asked: Question, call: RecordedCall, normalisers: tuple[Normalise, ...]
    ) -> tuple[normal.Form, normal.Form]:
        """Return what has to be equal of a question and of a recorded request."""
        bodies = self.recording.bodies
        mine = normal.masked(asked.request, self._bodies_of(asked), normalisers)
        return mine, normal.masked(call.request, bodies, normalisers)

    def _bodies_of(self, asked: Question) -> dict[str, dict[str, Any]]:
        """Return the messages that a question holds."""
        known, held = self.recording.bodies, asked.request.get("messages") or ()
        return {**{one: known[one] for one in held if one in known}, **asked.bodies}

    def _keep(self, renamed: Mapping[str, str], seq: int) -> None:
        known = {(pair["asked"], pair["recorded"]) for pair in self.renamed} if renamed else ()
        self.renamed += [
            {"seq": seq, "asked": asked, "recorded": recorded}
            for asked, recorded in renamed.items()
            if (asked, recorded) not in known
        ]

    def _use(
        self, call: RecordedCall, level: str, *, renamed: Mapping[str, str] | None = None
    ) -> Match:
        number = self._calls.number_of(call.seq)
        if number is not None:
            self._used[number] = True
            self._left -= 1
            self._left_in[call.lane] -= 1
        return Match(call=call, level=level, renamed=renamed)

    def take(self, call: RecordedCall, level: str) -> Match | None:
        """Consume a call that was chosen by position, if it is still to be had."""
        return self._use(call, level) if self.is_unused(call) else None

    def fitting(self, asked: Question) -> RecordedCall | None:
        """Return the recorded call at this position if what came of it could answer all the same.

        It has the same kind and name, or the same request; a model's name is part of its request.
        """
        here = self.recording.at(asked.lane, asked.ordinal)
        if here is None or here.kind != asked.kind:
            return None
        fits = asked.kind == "model" or asked.name == here.name or asked.request == here.request
        return here if fits else None

    def passed_over(self, asked: Question, *, by: RecordedCall | None = None) -> None:
        """Note that a question was answered by another call than the one at its position.

        ``by`` is that call, None where it is of another run or none at all.
        """
        here = self.recording.at(asked.lane, asked.ordinal)
        waits = here is not None and self.is_unused(here)
        self.elsewhere.note(asked, here, by, waits=waits)

    # ---- what is left

    @property
    def left(self) -> int:
        """How many recorded calls nobody asked for."""
        return self._left

    def unused(self) -> Iterator[RecordedCall]:
        """Give the recorded calls nobody asked for, in order of seq."""
        return (self._calls[number] for number, used in enumerate(self._used) if not used)

    def is_asked(self, seq: int) -> bool:
        """Say whether the recorded call that began there was asked for."""
        number = self._calls.number_of(seq)
        return number is None or bool(self._used[number])

    def is_unused(self, call: RecordedCall) -> bool:
        """Say whether nobody has asked for a recorded call yet."""
        return not self.is_asked(call.seq)

    def unused_in(self, lane: str) -> list[RecordedCall]:
        """Return the calls of a lane and those below it nobody asked for, in order of seq."""
        lanes = {one for one in self._lanes_from(lane) if self._left_in[one]}
        if not lanes:
            return []
        return [
            self._calls[number]
            for number, (one, used) in enumerate(zip(self._calls.lanes_of, self._used, strict=True))
            if not used and one in lanes
        ]

    def expects(self, lane: str) -> bool:
        """Say whether a call in a lane or below it has not been asked for yet."""
        return any(self._left_in[one] for one in self._lanes_from(lane))

    def _lanes_from(self, lane: str) -> Iterator[str]:
        names = self._lane_names
        if lane in self._left_in:
            yield lane
        below = lane + "/"
        for index in range(bisect_left(names, below), len(names)):
            if not names[index].startswith(below):
                return
            yield names[index]

    @cached_property
    def _lane_names(self) -> list[str]:
        return sorted(self._left_in)

    @property
    def lanes_left(self) -> set[str]:
        """The lanes with calls that nobody has asked for."""
        return {lane for lane, left in self._left_in.items() if left}

    def first_unused(self, lanes: Collection[str]) -> RecordedCall | None:
        """Return the first call of some lanes that nobody has asked for."""
        for number, lane in enumerate(self._calls.lanes_of):
            if lane in lanes and not self._used[number]:
                return self._calls[number]
        return None

    def asking_the_same(self, asked: Question) -> list[RecordedCall]:
        """Return the recorded calls with the very request of a question, used or not."""
        return [self._calls[number] for number in self._calls.signed(asked.signature)]

    # ---- differences

    def request_changes(self, asked: Question, call: RecordedCall) -> list[dict[str, Any]]:
        """Return the JSON-pointer differences of a request from a recorded one."""
        mine = normal.expanded(asked.request, self._bodies_of(asked))
        return pointer_diff(normal.expanded(call.request, self.recording.bodies), mine)

    def explain(self, asked: Question, *, tried: Iterable[dict[str, Any]] = ()) -> Divergence:
        """Say how a question that matches nothing differs from the recording.

        ``tried`` are other matchers that failed. What differed before it says `left_over`.
        """
        return explaining.explain(self, asked, tried=tried)

    def changed(self, asked: Question, here: RecordedCall) -> Divergence:
        """Say how a question differs from the call that was recorded in its place."""
        return explaining.changed(self, asked, here)

    def left_over(self, missing: Question | None = None) -> list[Divergence]:
        """Say how earlier questions differ that were answered from elsewhere, each once.

        They are told where a later question finds no answer (``missing``), or the end differs: the
        first of them, from which all that came after may follow, and those whose own recorded call
        is still waiting.
        """
        if missing is not None:
            self.elsewhere.tell(missing)
        return [explaining.displaced(self, one) for one in self.elsewhere.told()]
