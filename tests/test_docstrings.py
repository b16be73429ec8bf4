"""The examples in docstrings run as they stand there."""

import doctest
import importlib
import pkgutil
import random
from pathlib import Path

import pytest

import workbench

ROOT = Path(__file__).parents[1]
PROGRAMS = ("workbench.__main__",)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in pkgutil.walk_packages(workbench.__path__, "workbench."):
        if module.name not in PROGRAMS:
            loaded = importlib.import_module(module.name)
            given = {"wb": workbench, "random": random}
            yield from (t for t in finder.find(loaded, extraglobs=given) if t.examples)


@pytest.mark.parametrize("test", list(examples()), ids=lambda test: test.name)
def test_an_example_runs(test, monkeypatch):
    monkeypatch.chdir(ROOT)
    report = []
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append).failed == 0, (
        "".join(report)
    )
