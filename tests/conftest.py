"""Where the shared fixtures live: a running stack, a browser, a client of the server."""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["running", "browser", "speaking", "following"]

# A busy machine is no failure: laws are held to what they say, not to how soon they say it.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _spool(tmp_path_factory):
    """Recordings of tests leave nothing in the user's own home and spool, and find nothing there."""
    os.environ["WORKBENCH_SPOOL"] = str(tmp_path_factory.mktemp("spool"))
    os.environ["WORKBENCH_HOME"] = str(tmp_path_factory.mktemp("home"))
