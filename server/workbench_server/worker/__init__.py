"""The worker: a Postgres queue, whose jobs write the lake and the search index."""

from workbench_server.worker.queue import work

__all__ = ["work"]
