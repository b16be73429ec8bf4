"""A place for a journal to write to, in memory: events and bodies as they were appended."""


class Kept:
    run_id = ""

    def __init__(self):
        self.events = []
        self.bodies = {}

    def append(self, events, bodies=None):
        self.events += list(events)
        self.bodies.update(bodies or {})

    def close(self):
        """Nothing is open."""
