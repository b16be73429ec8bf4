"""Where the shared fixtures live: a running stack, a browser, a client of the server."""

pytest_plugins = ["running", "browser", "speaking", "following"]
