"""Sections *retrieval*, *tools* and *model*: what was asked for, and what came back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from workbench.diff.deltas import Delta, alone, as_text, between, change_of
from workbench.hashing import dumps
from workbench.schema import message_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.diff.align import Pair
    from workbench.diff.deltas import Found, Section
    from workbench.diff.sides import CallView, Side

_Ranked = dict[str, tuple[int, Any, Any]]


def retrieval(a: Side, b: Side, pairs: Sequence[Pair], found: Found) -> Iterator[Delta]:
    """Compare queries and documents: gained, lost, moved in rank or score."""
    del a, b
    for pair in _differing("retriever", pairs, section="retrieval", found=found):
        if pair.a is None or pair.b is None:
            yield alone(pair, "retrieval", _request(pair))
        else:
            yield from _lane(pair, pair.a, pair.b, section="retrieval")
            if pair.a.asked != pair.b.asked:
                query_a, query_b = pair.a.request.get("query"), pair.b.request.get("query")
                yield between(pair, "retrieval", "/query", a=query_a, b=query_b)
            yield from _documents(pair, _ranked(pair.a), _ranked(pair.b))


def _differing(
    kind: str, pairs: Sequence[Pair], *, section: Section, found: Found
) -> Iterator[Pair]:
    """Give the pairs of one kind that differ, or note that there is no such call."""
    there = False
    for pair in pairs:
        call = pair.a or pair.b
        if call is not None and call.kind == kind:
            there = True
            if not pair.equal:
                yield pair
    if not there:
        found.missing[section] = f"no {kind} calls"


def _request(pair: Pair) -> dict[str, Any]:
    call = pair.a or pair.b
    return call.request if call else {}


def _ranked(call: CallView) -> _Ranked:
    """Return document → (rank, score, text); a document without an id goes by its text."""
    ranked: _Ranked = {}
    for rank, document in enumerate((call.outcome or {}).get("documents") or [], start=1):
        text, meta = document.get("page_content"), document.get("metadata") or {}
        name = str(document.get("id") or meta.get("id") or text)
        ranked.setdefault(name, (rank, meta.get("score"), text))
    return ranked


def _documents(pair: Pair, a: _Ranked, b: _Ranked) -> Iterator[Delta]:
    for name in {**a, **b}:
        one, other = a.get(name), b.get(name)
        if one == other:
            continue
        change = change_of(one, other)
        place = (one or other or (0,))[0]
        moved = one is not None and other is not None and one[2] == other[2]
        yield between(
            pair,
            "retrieval",
            f"/documents/{place - 1}",
            a=_rank_text(one) if moved else one and one[2],
            b=_rank_text(other) if moved else other and other[2],
            change="moved" if moved else change,
            note=f"rank {place}" if change != "changed" else name[:80],
        )


def _rank_text(ranked: tuple[int, Any, Any] | None) -> str | None:
    if ranked is None:
        return None
    return f"rank {ranked[0]}" if ranked[1] is None else f"rank {ranked[0]}, score {ranked[1]}"


def tools(a: Side, b: Side, pairs: Sequence[Pair], found: Found) -> Iterator[Delta]:
    """Compare arguments, results and errors of tool calls."""
    del a, b
    for pair in _differing("tool", pairs, section="tools", found=found):
        if pair.a is None or pair.b is None:
            yield alone(pair, "tools", _request(pair).get("arguments"))
        else:
            yield from _lane(pair, pair.a, pair.b, section="tools")
            yield from _arguments(pair, pair.a, pair.b)
            yield from _result(pair, pair.a, pair.b)


def _lane(pair: Pair, a: CallView, b: CallView, *, section: Section) -> Iterator[Delta]:
    if pair.match == "moved":
        yield between(pair, section, "/lane", a=a.lane, b=b.lane, change="moved")


def _arguments(pair: Pair, a: CallView, b: CallView) -> Iterator[Delta]:
    one, other = a.request.get("arguments"), b.request.get("arguments")
    if not isinstance(one, dict) or not isinstance(other, dict):
        if as_text(one) != as_text(other):
            yield between(pair, "tools", "/arguments", a=one, b=other)
        return
    for name in {**one, **other}:
        left, right = _shown(one, name), _shown(other, name)
        if left != right:
            change = change_of(left, right)
            yield between(pair, "tools", f"/arguments/{name}", a=left, b=right, change=change)


def _shown(arguments: dict[str, Any], name: str) -> str | None:
    """Return an argument as JSON, so that 1, "1" and null differ; null where it is not given."""
    return dumps(arguments[name]).decode() if name in arguments else None


def _result(pair: Pair, a: CallView, b: CallView) -> Iterator[Delta]:
    left, right = result_text(a), result_text(b)
    if left != right:
        yield between(pair, "tools", "/result", a=left, b=right, change=change_of(left, right))
    elif a.status != b.status:
        yield between(pair, "tools", "/status", a=a.status, b=b.status)


def result_text(call: CallView) -> str | None:
    """Return what came back as a text; null where nothing did."""
    if call.message is not None:
        return message_text(call.message.get("content"))
    if call.exception is not None:
        return as_text(call.exception.get("message") or call.exception)
    return as_text((call.outcome or {}).get("value"))


def model(a: Side, b: Side, pairs: Sequence[Pair], found: Found) -> Iterator[Delta]:
    """Compare models and their parameters, each change once however many calls it touches."""
    changed: Counter[tuple[str, str | None, str | None]] = Counter()
    first: dict[tuple[str, str | None, str | None], Pair] = {}
    for pair in _differing("model", pairs, section="model", found=found):
        if pair.a is None or pair.b is None:
            yield alone(pair, "model", _answer(pair))
            continue
        yield from _lane(pair, pair.a, pair.b, section="model")
        for what in _parameters(pair.a, pair.b):
            changed[what] += 1
            first.setdefault(what, pair)
    for (pointer, left, right), calls in changed.items():
        one = first[pointer, left, right]
        note = "in 1 call" if calls == 1 else f"in {calls} calls"
        yield between(one, "model", pointer, a=left, b=right, note=note)
    yield from _tokens(a, b, found)


def _answer(pair: Pair) -> str | None:
    """Return what a model said in one run only, with the tools it asked for."""
    call = pair.a or pair.b
    if call is None:
        return None
    asks = f"calls {', '.join(call.asks_for)}" if call.asks_for else None
    return "\n".join(part for part in (result_text(call), asks) if part)


def _parameters(a: CallView, b: CallView) -> Iterator[tuple[str, str | None, str | None]]:
    one, other = _params(a), _params(b)
    for name in {**one, **other}:
        left, right = as_text(one.get(name)), as_text(other.get(name))
        if left != right:
            yield f"/{name}", left, right


def _params(call: CallView) -> dict[str, Any]:
    said = {k: v for k, v in call.request.items() if k not in ("messages", "params")}
    inner = call.request.get("params")
    nested = {f"params/{k}": v for k, v in inner.items()} if isinstance(inner, dict) else {}
    return {"model": call.name, **said, **nested}


def _tokens(a: Side, b: Side, found: Found) -> Iterator[Delta]:
    left, right = tokens_of(a), tokens_of(b)
    if "model" in found.missing:
        return
    if left is None or right is None:
        whose = " and ".join(n for n, said in (("A", left), ("B", right)) if said is None)
        found.remarks["model"] = f"tokens unknown in {whose}"
        return
    for name, one, other in zip(("input", "output"), left, right, strict=True):
        if one != other:
            yield Delta(
                section="model",
                pointer=f"/tokens/{name}",
                change="changed",
                name=f"{name} tokens",
                a=str(one),
                b=str(other),
            )


def tokens_of(side: Side) -> tuple[int, int] | None:
    """Return the input and output tokens of a run's model calls; null where one is unknown."""
    counted = [call.tokens for call in side.of("model")]
    if any(given is None for both in counted for given in both):
        return None
    return sum(i or 0 for i, _ in counted), sum(o or 0 for _, o in counted)
