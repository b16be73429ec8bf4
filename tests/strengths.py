"""Both ways a replay is kept from the world: guarded here, isolated where this machine lets it be."""

from __future__ import annotations

import pytest

from workbench.replay import isolation

isolated = pytest.mark.skipif(not isolation.possible(), reason="no network namespace here")
each_strength = pytest.mark.parametrize(
    "isolate", [False, pytest.param(True, marks=isolated)], ids=["guarded", "isolated"]
)
