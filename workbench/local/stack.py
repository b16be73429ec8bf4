"""The parts of the stack and the order in which they start and end."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.errors import StackFailed
from workbench.local import ports, postgres
from workbench.local.addresses import Addresses, elsewhere, server_command, server_options
from workbench.local.database import ensure_database
from workbench.local.home import credentials
from workbench.local.parts import Part
from workbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import ExitStack
    from pathlib import Path

    from workbench.local.home import Home

_PATIENCE_S = 60.0
_POLL_S = 0.02
_PORT_TRIES = 3


class Stack:
    """The parts that run, in the order of their start."""

    def __init__(self, home: Home, runtime_folder: Path, *, wanted_port: int | None) -> None:
        self.home = home
        self.runtime_folder = runtime_folder
        self.wanted_port = wanted_port
        self.port: int | None = None
        self.parts: list[Part] = []
        self.cluster: postgres.Cluster | None = None
        self.passwords = credentials(home)
        settings = Settings.from_environment()
        self._elsewhere = settings.database_url
        self._storage_url = settings.storage_url or str(home.objects)

    @property
    def socket(self) -> Path:
        """Where the server also listens, for users of this home in any network namespace."""
        return self.runtime_folder / "server.sock"

    @property
    def addresses(self) -> Addresses:
        if self._elsewhere:
            urls = elsewhere(self._elsewhere, passwords=self.passwords)
        elif self.cluster is not None:
            urls = {
                role: postgres.address(self.cluster, role=role, password=password)
                for role, password in self.passwords.items()
            }
        else:
            raise StackFailed("the database has not been started", where=str(self.home.path))
        return Addresses(urls=urls, storage_url=self._storage_url)

    async def start(self) -> AsyncIterator[str]:
        """Start everything; yields what is being done."""
        port = ports.chosen(self.home, wanted=self.wanted_port)
        if not self._elsewhere:
            yield "starting the database"
            await self._start_database()
        yield "bringing the database to this version"
        await self._migrate()
        yield "starting the server"
        await self._start_server(port)
        # Last, for it loads much and nobody waits for it.
        self._start_part("worker", ("worker",), "worker")

    async def _start_database(self) -> None:
        self.cluster = await asyncio.to_thread(
            postgres.prepared,
            self.home,
            self.runtime_folder,
            password=self.passwords["owner"],
        )
        cluster = self.cluster

        def launch(stack: ExitStack) -> tuple[list[str], dict[str, Any]]:
            return postgres.serving(cluster, stack=stack)

        part = Part(
            name="postgres",
            log=self.home.log("postgres"),
            launch=launch,
            ends_on=signal.SIGINT,
        )
        await self._up(part, lambda pid: postgres.is_ready(cluster, pid=pid))
        url = postgres.address(
            cluster, role="owner", password=self.passwords["owner"], database="postgres"
        )
        await asyncio.to_thread(ensure_database, url, name=postgres.DATABASE)

    async def _migrate(self) -> None:
        part = Part(
            name="migrate",
            log=self.home.log("migrate"),
            launch=self._launch(("owner", "app", "worker", "bench"), "migrate"),
        )
        part.start()
        self.parts.append(part)
        code = await asyncio.to_thread(part.wait)
        self.parts.remove(part)
        if code != 0:
            raise part.failure("the database could not be brought to this version")

    async def _start_server(self, port: int) -> None:
        for attempt in range(_PORT_TRIES):
            arguments = ["serve", "--host", ports.HOST, "--port", str(port)]
            arguments += ["--socket", str(self.socket)]
            part = Part(
                name="server",
                log=self.home.log("server"),
                launch=self._launch(("app",), *arguments),
            )
            self.port = port
            try:
                await self._up(part, partial(_answers, port=port))
            except StackFailed:
                # Somebody may have taken the port between our look and the server's start.
                if ports.is_free(port) or attempt == _PORT_TRIES - 1:
                    raise
                self.parts.remove(part)
                ports.chosen(self.home, wanted=self.wanted_port)
                port = ports.chosen(self.home, wanted=None)
            else:
                self.home.port.write_text(str(port))
                return

    def _start_part(self, name: str, roles: tuple[str, ...], *arguments: str) -> None:
        part = Part(name=name, log=self.home.log(name), launch=self._launch(roles, *arguments))
        part.start()
        self.parts.append(part)

    def _launch(
        self, roles: tuple[str, ...], *arguments: str
    ) -> Callable[[ExitStack], tuple[list[str], dict[str, Any]]]:
        def launch(_: ExitStack) -> tuple[list[str], dict[str, Any]]:
            environment = self.addresses.environment(*roles)
            if self.port is not None:  # the worker speaks to the server that is there by then
                environment["WORKBENCH_URL"] = f"http://{ports.HOST}:{self.port}"
            options = server_options(environment, number=signal.SIGTERM)
            return server_command(*arguments), options

        return launch

    async def _up(self, part: Part, is_ready: Callable[[int], bool]) -> None:
        pid = part.start()
        self.parts.append(part)
        deadline = time.monotonic() + _PATIENCE_S
        while not await asyncio.to_thread(is_ready, pid):
            if not part.is_running():
                raise part.failure(f"{part.name} ended while it started")
            if time.monotonic() > deadline:
                raise part.failure(f"{part.name} was not ready after {_PATIENCE_S:.0f} s")
            await asyncio.sleep(_POLL_S)

    def end(self) -> None:
        """End the parts, the database last."""
        users = [part for part in self.parts if part.name != "postgres"]
        for part in users:
            part.ask_to_end()
        for part in users:
            part.end(patience_s=8.0)
        for part in self.parts:
            part.end(patience_s=30.0)
        if self.cluster is not None:
            postgres.forget(self.cluster)


def _answers(_: int, *, port: int) -> bool:
    """Say whether the server on this port reports itself healthy."""
    import http.client

    connection = http.client.HTTPConnection(ports.HOST, port, timeout=2)
    try:
        connection.request("GET", "/v1/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
