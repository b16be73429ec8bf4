"""Where the shared fixtures live: a running stack, a browser, a client of the server."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["running", "browser", "speaking", "following"]

# A busy machine is no failure: laws are held to what they say, not to how soon they say it.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
