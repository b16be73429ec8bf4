"""What a journal writes, kept in memory."""


class Kept:
    """A writer whose events and bodies are lists and mappings."""

    run_id = ""

    def __init__(self):
        self.events = []
        self.bodies = {}

    def append(self, events, bodies=None):
        self.events += list(events)
        self.bodies.update(bodies or {})

    def close(self):
        pass
