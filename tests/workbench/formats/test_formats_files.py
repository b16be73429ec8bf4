"""How files are cut into records, and what is said of files that are something else."""

import json
import re

import pytest
from foreign import dojo, tau2, tau2_run, tau_bench, tau_bench_run, traces_of
from realdata import FOLDER, needs_realdata

from workbench import formats
from workbench.errors import FormatError, MalformedFile, UnknownFormat

_ASKED = {"role": "assistant", "content": None}
_BROKEN_MESSAGES = {
    "no known role": [{"role": "nobody", "content": "a"}],
    "no text": [{"role": "user", "content": 5}],
    "not an object": ["a"],
    "is not a list": {"role": "user"},
    "has no name": [_ASKED | {"tool_calls": [{"args": {}}]}],
    "tool_calls is not a list": [_ASKED | {"tool_calls": {"f": 1}}],
}


def test_a_record_is_its_own_slice_of_the_bytes_and_knows_its_line():
    records = [tau_bench_run(trial=n) for n in range(3)]
    data = tau_bench(*records)

    _, pieces = formats.records("tau-bench", data)

    assert [json.loads(piece.data) for piece in pieces] == records
    assert b"".join(piece.data for piece in pieces) == b"".join(data[2:-2].split(b",\n"))
    assert [piece.line for piece in pieces] == [2, 3, 4]


def test_a_simulation_is_its_own_slice_of_the_bytes_and_knows_its_line():
    data = tau2(tau2_run(id_="a"), tau2_run(id_="b"))

    _, pieces = formats.records("tau2", data)

    lines = data.decode().splitlines()
    assert [json.loads(piece.data)["id"] for piece in pieces] == ["a", "b"]
    assert all(piece.data in data for piece in pieces)
    assert [lines[piece.line - 1].strip() for piece in pieces] == ["{", "{"]


def test_slices_do_not_depend_on_which_reader_cut_them():
    clean = tau2(tau2_run(id_="a", note="x"), tau2_run(id_="b"))
    half = clean.replace(b'"x"', rb'"\ud83d"')

    _, pieces = formats.records("tau2", clean)
    _, lenient = formats.records("tau2", half)

    assert [p.data.replace(rb"\ud83d", b"x") for p in lenient] == [p.data for p in pieces]
    assert [p.line for p in lenient] == [p.line for p in pieces]


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.parametrize(
    ("other", "data"),
    [
        ("agentdojo", dojo([])),
        ("tau-bench", tau_bench(tau_bench_run())),
        ("tau2", tau2(tau2_run())),
        ("langfuse", b'{"trace": {}, "observations": []}'),
        ("swe-agent", b'{"trajectory": [], "history": [], "info": {}}'),
        (None, b'{"hello": 1}'),
        (None, b"3"),
    ],
)
def test_a_file_of_another_format_is_named(name, other, data):
    if name == other:
        assert traces_of(name, data)
        return

    with pytest.raises(UnknownFormat) as caught:
        traces_of(name, data)

    assert caught.value.facts["looks_like"] == other
    assert caught.value.where == "file.json"


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (b"not json", 1),
        (b'[\n{"task_id": 0,\n"traj": [', 3),
        (b'{"info": {},\n"simulations": [\n{]}', 3),
        (b'["\xff"]', 1),
        (b"[" * 100_000, 1),
    ],
)
def test_a_broken_file_is_named_with_its_line(name, data, line):
    with pytest.raises(MalformedFile) as caught:
        traces_of(name, data)

    assert caught.value.facts["line"] == line


@pytest.mark.parametrize(("said", "messages"), _BROKEN_MESSAGES.items())
def test_a_record_of_broken_messages_is_refused(said, messages):
    for name, data in (
        ("agentdojo", dojo(messages)),
        ("tau-bench", tau_bench(tau_bench_run() | {"traj": messages})),
        ("tau2", tau2(tau2_run(messages=messages))),
    ):
        if "name" in said and name == "tau-bench":
            continue
        with pytest.raises(MalformedFile, match=re.escape(said)):
            traces_of(name, data)


@needs_realdata
@pytest.mark.parametrize("name", formats.FORMATS)
def test_no_file_of_the_other_formats_is_taken_for_one_of_ours(name):
    others = [
        p
        for kind in ("langfuse", "inspect", "swe-agent", "exgentic", "invariant")
        for p in (FOLDER / kind).rglob("*")
        if p.is_file()
    ]
    assert others

    for path in others:
        with pytest.raises(FormatError):
            traces_of(name, path.read_bytes())


@pytest.mark.parametrize("levels", [70, 300])
def test_a_value_nested_too_deeply_to_be_stored_is_refused(levels):
    deep = json.loads("[" * levels + "]" * levels)
    data = dojo([_ASKED | {"tool_calls": [{"function": "f", "args": {"x": deep}}]}])
    [trace] = traces_of("agentdojo", data)

    with pytest.raises(MalformedFile, match="stored"):
        formats.imported(trace)


def test_brackets_in_a_text_are_no_nesting():
    data = dojo([{"role": "user", "content": '[{"' * 500 + "\\"}])
    [trace] = traces_of("agentdojo", data)

    assert formats.imported(trace).counts.messages == 1


def test_a_tools_name_that_no_column_holds_is_refused():
    data = dojo([_ASKED | {"tool_calls": [{"function": "f\0", "args": {}}]}])

    with pytest.raises(MalformedFile, match="name that cannot be stored"):
        traces_of("agentdojo", data)
