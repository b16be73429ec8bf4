"""What a diff shows: its sentence, and its page."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from foreign import dojo, dojo_answer, dojo_ask, dojo_call, run_of
from hypothesis import given, settings
from hypothesis import strategies as st
from realdata import Recorded

from workbench.diff import diff, lines, summary

_EVIL = "</style><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
_VOID = ("meta", "col", "path")


def _run(answer, *, said="done", name="read", run_id="agentdojo:x.json", arguments=None):
    call = dojo_call(name, arguments or {"path": "bill.txt"})
    messages = [
        {"role": "user", "content": "pay the bill"},
        dojo_ask(call),
        dojo_answer(answer, call),
        {"role": "assistant", "content": said, "tool_calls": None},
    ]
    return Recorded(run_of("agentdojo", dojo(messages)), run_id=run_id)


class _Page(HTMLParser):
    """Collects elements, attributes and text, and checks that tags close."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_first_line_of_the_summary_is_the_finding():
    found = diff(_run("clean"), _run("poisoned"))

    assert found.summary().splitlines()[0] == "First divergence: message 2, what read gave back."
    assert repr(found) == found.summary()


def test_equal_runs_are_an_answer():
    run = _run("x")

    first, *rest = diff(run, run).summary().splitlines()

    assert first == "No difference: all 4 messages and 4 calls are the same."
    assert "Tools: same." in rest
    assert "Retrieval: not computed: no retriever calls." in rest
    assert "<table" not in diff(run, run)._repr_html_()


@pytest.mark.parametrize(
    ("a", "b", "line"),
    [
        (_run("x"), _run("x", name="write"), "call 0, read in A, write in B."),
        (_run("x"), _run("x", arguments={"path": "y"}), "call 0, read with other arguments."),
    ],
)
def test_the_first_action_is_the_second_finding(a, b, line):
    assert f"First action that differs: {line}" in diff(a, b).summary()


def test_the_page_stands_alone_and_shows_what_changed():
    html = diff(_run("line 1\nold word\nline 3"), _run("line 1\nnew word\nline 3")).to_html()

    page = _Page(html)
    said = " ".join(page.text)
    assert html.startswith("<!doctype html>")
    assert "First divergence: message 2, what read gave back" in said
    assert "<del>old</del>" in html
    assert "<ins>new</ins>" in html
    assert "not computed: no retriever calls" in said
    links = [value for name, value in page.attributes if name in ("src", "href")]
    assert links == []
    assert not re.search(r"url\(|@import|https?://", html)
    assert "script" not in page.tags


@pytest.mark.parametrize("place", ["answer", "said", "name", "run_id"])
def test_nothing_of_a_run_becomes_markup(place):
    texts = {"answer": "a", "said": "b", "name": "c", "run_id": "d"}
    a = _run(**texts)
    b = _run(**(texts | {place: _EVIL}))

    for html in (diff(a, b).to_html(), diff(b, a)._repr_html_()):
        page = _Page(html)
        assert not {"script", "img"} & set(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_a_notebook_gets_text_and_html():
    bundle = diff(_run("x"), _run("y"))._repr_mimebundle_()

    assert set(bundle) == {"text/plain", "text/html"}
    assert not bundle["text/html"].startswith("<!doctype")


def test_a_long_text_is_cut_and_says_by_how_much():
    html = diff(_run("x"), _run("y" * 5_000))._repr_html_()

    assert "3,000 characters more" in html


def test_equal_lines_are_folded_and_counted():
    same = [f"line {n}" for n in range(10)]
    rows = lines.compared("\n".join([*same, "old", *same]), "\n".join([*same, "new", *same]))

    assert [type(row).__name__ for row in rows] == ["Folded", "Line", "Line", "Line", "Folded"]
    assert [row.lines for row in rows if isinstance(row, lines.Folded)] == [9, 9]
    assert [(row.a, row.b) for row in rows if isinstance(row, lines.Line)] == [
        ("line 9", "line 9"),
        ("old", "new"),
        ("line 0", "line 0"),
    ]


_TEXT = st.text("ab \n<", max_size=30)


@settings(max_examples=60)
@given(_TEXT, _TEXT)
def test_lines_of_both_texts_are_all_there_in_order(a, b):
    rows = list(lines._rows(a.splitlines(), b.splitlines()))

    assert [row.a for row in rows if row.a is not None] == a.splitlines()
    assert [row.b for row in rows if row.b is not None] == b.splitlines()
    assert all(row.a == row.b for row in rows if row.equal)


@given(_TEXT, _TEXT)
def test_marked_words_keep_the_text(a, b):
    left, right = (re.sub("</?(del|ins)>", "", text) for text in lines.marked(a, b))

    assert (unescape(left), unescape(right)) == (a, b)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999.6, "1.00 s"),
        (9_996, "10.0 s"),
        (59_960, "1 min 00 s"),
        (3_599_600, "1 h 00 min"),
    ],
)
def test_durations_never_show_sixty_of_anything(ms, text):
    assert summary.span(ms) == text
