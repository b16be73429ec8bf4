"""A home for each test, and one stack that the tests of a module share."""

from __future__ import annotations

import pytest
from local_homes import fresh_home

from workbench import local


@pytest.fixture
def home():
    with fresh_home() as found:
        yield found


@pytest.fixture(scope="module")
def stack():
    """The home of a running stack."""
    with fresh_home() as found:
        local.up(found)
        yield found
