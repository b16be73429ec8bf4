"""The queue's tasks. Each is safe twice; one workspace's snapshots run one at a time.

Replays have a queue and a few hands of their own: however long they take, the lake does not wait.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

import procrastinate
import psycopg
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from sqlalchemy.exc import OperationalError

from workbench.errors import Unavailable
from workbench_server import logs
from workbench_server.agents import check_here
from workbench_server.queries import queries
from workbench_server.storage import open_storage
from workbench_server.worker.lake import open_lake
from workbench_server.worker.replaying import Replayer, replay
from workbench_server.worker.snapshot import Worker, check_role, run_job, snapshot
from workbench_server.worker.sweeping import Deadlines, sweep

if TYPE_CHECKING:
    from workbench_server.configuration import Configuration

_EVERY_TEN_SECONDS = "* * * * * */10"
_EVERY_FIVE_SECONDS = "* * * * * */5"
_QUEUE = "workbench"
_REPLAYS = "replays"
_REPLAYS_AT_ONCE = 2
_AWAY_S = 5  # longer with each attempt, where the server is away
_ATTEMPTS = 100  # more than a job allows itself
_log = logging.getLogger("workbench.worker")


def work(configuration: Configuration) -> int:
    """Work until stopped."""
    logs.configure(configuration.log_level)
    url = configuration.need("worker_database_url")
    storage = open_storage(configuration.need("storage_url"))
    deadlines = Deadlines.from_environment()
    check_here(configuration.agents)
    try:
        check_role(url)
        worker = Worker(url=url, lake=open_lake(url, storage))
        replayer = Replayer(worker=worker, agents=configuration.agents, url=configuration.url)
        asyncio.run(_run(make_app(worker, replayer=replayer, deadlines=deadlines)))
    except (psycopg.OperationalError, OperationalError, ConnectorException) as error:
        raise Unavailable("the database cannot be reached", found=str(error).strip()) from error
    return 0


async def _run(app: procrastinate.App) -> None:
    async with app.open_async():
        print("workbench worker ready", file=sys.stderr, flush=True)  # noqa: T201 - says: ready
        hands = [
            asyncio.ensure_future(_hand(app, _QUEUE, concurrency=4)),
            asyncio.ensure_future(
                # What is broken off by a stop goes on elsewhere.
                _hand(
                    app,
                    _REPLAYS,
                    concurrency=_REPLAYS_AT_ONCE,
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=0.0,
                )
            ),
        ]
        try:
            done, _ = await asyncio.wait(hands, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for hand in hands:
                hand.cancel()
            await asyncio.gather(*hands, return_exceptions=True)
        for hand in done:
            hand.result()


async def _hand(app: procrastinate.App, queue: str, **options: Any) -> None:
    await app.run_worker_async(
        queues=[queue], delete_jobs="always", fetch_job_polling_interval=2.0, **options
    )


def make_app(worker: Worker, *, replayer: Replayer, deadlines: Deadlines) -> procrastinate.App:
    """Return the queue and its tasks, on the worker's connection."""
    connector = procrastinate.PsycopgConnector(
        conninfo=worker.url, kwargs={"options": "-c search_path=jobs"}, min_size=1, max_size=8
    )
    app = procrastinate.App(connector=connector)

    @app.task(name="snapshot", queue=_QUEUE, retry=3)
    async def _snapshot(workspace_id: str, job_id: str | None = None) -> None:
        work = (worker, UUID(workspace_id))
        with logs.binding(job="snapshot", job_id=job_id, workspace=workspace_id):
            if job_id is None:
                runs = await asyncio.to_thread(snapshot, *work)
            else:
                runs = await asyncio.to_thread(run_job, *work, job_id=UUID(job_id))
            _log.info("the lake has %d more runs", runs, extra={"facts": {"runs": runs}})

    again = procrastinate.RetryStrategy(max_attempts=_ATTEMPTS, linear_wait=_AWAY_S)

    @app.task(name="replay", queue=_REPLAYS, retry=again)
    async def _replay(workspace_id: str, job_id: str) -> None:
        with logs.binding(job="replay", job_id=job_id, workspace=workspace_id):
            await replay(replayer, UUID(workspace_id), job_id=UUID(job_id))

    @app.periodic(cron=_EVERY_TEN_SECONDS)
    @app.task(name="take_up", queue=_QUEUE)
    async def _take_up(timestamp: int) -> None:  # noqa: ARG001 - the queue passes its time
        # A killed worker's job would hold its workspace's lock for ever.
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)

    @app.periodic(cron=_EVERY_TEN_SECONDS)
    @app.task(name="look_for_work", queue=_QUEUE)
    async def _look_for_work(timestamp: int) -> None:  # noqa: ARG001 - the queue passes its time
        for workspace_id in await asyncio.to_thread(_with_work, worker):
            key = f"snapshot:{workspace_id}"
            deferrer = _snapshot.configure(lock=key, queueing_lock=key)
            try:
                await deferrer.defer_async(workspace_id=str(workspace_id))
            except AlreadyEnqueued:
                continue

    @app.periodic(cron=_EVERY_FIVE_SECONDS)
    @app.task(name="sweep", queue=_QUEUE, queueing_lock="sweep")
    async def _sweep(timestamp: int) -> None:  # noqa: ARG001 - the queue passes its time
        await asyncio.to_thread(sweep, worker, deadlines)

    return app


def _with_work(worker: Worker) -> list[Any]:
    with worker.connect() as connection:
        return [row["workspace_id"] for row in connection.execute(_WITH_WORK)]


_WITH_WORK = queries("worker")["workspaces_with_work"]
