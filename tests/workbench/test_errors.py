import pickle

import pytest

from workbench import errors
from workbench.errors import InvalidEvent, RunNotFound, SequenceGap, WorkbenchError


def leaves(cls=WorkbenchError):
    below = cls.__subclasses__()
    return [cls] if not below else [leaf for sub in below for leaf in leaves(sub)]


def test_every_leaf_has_its_name_as_code():
    assert SequenceGap.code == "sequence_gap"
    assert len({leaf.code for leaf in leaves()}) == len(leaves())


def test_the_tree_in_the_docstring_names_every_leaf():
    missing = [leaf.__name__ for leaf in leaves() if leaf.__name__ not in errors.__doc__]
    assert missing == []


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.code)
def test_an_error_survives_pickle_and_http(leaf):
    error = leaf("it broke", where="line 3", expected=1, found=2, hint="mend it", run_id="r")
    for copy in (
        pickle.loads(pickle.dumps(error)),
        WorkbenchError.from_problem(error.as_problem()),
    ):
        assert type(copy) is leaf
        assert str(copy) == "it broke — line 3 — expected 1, found 2\nHint: mend it"
        assert copy.facts == {"run_id": "r"}


def test_a_not_found_error_names_the_nearest():
    error = RunNotFound.among("run", "abc1", ["abc2", "zzz"])
    assert "Did you mean abc2?" in str(error)


def test_an_unknown_problem_is_still_an_error():
    error = WorkbenchError.from_problem({"code": "from_the_future", "title": "hm", "details": None})
    assert type(error) is WorkbenchError
    assert InvalidEvent.code not in error.as_problem()["code"]
