"""A replay in a child process without any network: nothing but a pipe leads out of it.

The child lives in an empty network namespace, with an environment of a few harmless variables, and
the kernel refuses it sockets that have a path (`sealing`): so no connection opened before, no C
library and no credential gets out. It imports the agent itself, and what happens in it comes home
as it happens.
"""

from __future__ import annotations

import functools
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import workbench
from workbench import ours, schema
from workbench.capture import agents, code, values
from workbench.errors import NotReplayable, UsageError, WorkbenchError
from workbench.replay import pipes, sealing
from workbench.replay.answers import Answered, Answers
from workbench.replay.divergence import Divergence
from workbench.replay.keeper import Keeper
from workbench.replay.playing import Played

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from workbench.replay.kin import Kin
    from workbench.replay.progress import Tell
    from workbench.store.protocol import RunWriter
    from workbench.store.run import Run

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONHASHSEED", "VIRTUAL_ENV")
_UNSHARE = ("unshare", "-c", "-n")
_CHILD = ("-c", "from workbench.replay.child import main; main()")
# the package first, wherever it is: a folder of the agent's may be called as it is
_FROM_HERE = (
    "import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]; import workbench; del sys.path[0]; "
)
_HOME = str(Path(workbench.__file__).parents[1])
_HEAD = 20  # events: what is said of the agent's world stands at the beginning
_PART = 1000  # events in one message
_TICK_S = 0.1
_AT_ONCE = 1 << 16
_LAST_S = 1.0
_LAST_WORDS = 8192  # bytes that are kept of what the child says on standard error


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the child plays: a session made of options, by its importable name."""

    session: str
    options: dict[str, Any] = field(default_factory=dict)


@functools.cache
def possible() -> bool:
    """Say whether this machine lets us make an empty network namespace."""
    if shutil.which("unshare") is None or not sealing.possible():
        return False
    made = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False)  # noqa: S603 - a fixed command
    return made.returncode == 0


def require(agent: agents.Agent | str) -> str:
    """Return the name by which a child imports an agent, or refuse what cannot be isolated.

    Parameters
    ----------
    agent
        The agent, or its name: then nothing of it is imported here.

    Raises
    ------
    NotReplayable
        No namespace can be made here, or the agent cannot be imported by name in a new process.
    """
    if not possible():
        raise NotReplayable(
            "no empty network namespace can be made here",
            hint="replay without isolate: the guard refuses every new connection from Python",
        )
    name = agent if isinstance(agent, str) else agent.entry_point
    if name is None or name.startswith("__main__:"):
        raise NotReplayable(
            "an isolated replay imports the agent in a process of its own",
            hint="put it in a module and name it: module:attribute",
        )
    if not isinstance(agent, str) and agents.find_agent(name).target is not agent.target:
        raise NotReplayable(
            f"{name} is another object than the agent that was given",
            hint="name the agent instead: module:attribute",
        )
    return name


def started(run: Run, agent: Any = None, *, timeout: float | None = None) -> Child:
    """Start the child that will replay a run; it imports the agent meanwhile.

    Parameters
    ----------
    run
        The recorded run.
    agent
        The agent or ``module:attribute``; default the one the run names.
    timeout
        After how many seconds from now the child is killed.

    Raises
    ------
    NotReplayable
        As of `require`.
    UsageError
        The run does not name its agent.
    """
    named, seed = _head_of(run)
    if agent is None and named is None:
        raise UsageError(
            "the run does not name its agent", where=run.run_id, hint="pass it: replay(run, agent)"
        )
    given = named if agent is None else agent
    wanted = require(given if isinstance(given, str) else agents.find_agent(given))
    return Child(wanted, hash_seed=seed, timeout=timeout)


def _head_of(run: Run) -> tuple[str | None, str | None]:
    """Return the agent's name and the hash seed that a run was recorded with, where they are."""
    from workbench import frames

    named, seed = None, None
    for event in frames.to_events(run.store.events(run.run_id, limit=_HEAD)):
        if event.event_type == "run_started":
            named = schema.parse_body(event).entry_point
        elif event.event_type == "annotated":
            said = schema.parse_body(event)
            if said.label == "world" and isinstance(said.value, dict):
                seed = said.value.get("hash_seed")
    return named, str(seed) if str(seed).isdecimal() else None


class Child:
    """A process that imports an agent and replays one run, without any way out but to us.

    Used as a context: behind it the process and all it started are gone.

    Attributes
    ----------
    agent
        The name that it imports.
    """

    def __init__(
        self, agent: str, *, hash_seed: str | None = None, timeout: float | None = None
    ) -> None:
        self.agent = agent
        self._until = None if timeout is None else time.monotonic() + timeout
        self._cancelled = False
        self._failed: Exception | None = None
        self._keeper: Keeper | None = None
        self._said = bytearray()
        self._read: list[pipes.Message] = []
        self._frames = pipes.Frames()
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs
            [*_UNSHARE, sys.executable, *_from_here(), _HOME, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(hash_seed),
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ)
        self._feeding: list[threading.Thread] = []
        self._turn = threading.Lock()
        self._feed(self._agent_message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        self._process.wait()
        for thread in self._feeding:
            thread.join(_LAST_S)
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def cancel(self) -> None:
        """End the replay from another thread: its process is killed, its run is cancelled."""
        self._cancelled = True
        self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    # ---- what it is told

    def imported(self) -> dict[str, Any]:
        """Wait until the agent is imported, and return the fingerprint of its code.

        Raises
        ------
        NotReplayable
            The child ended before, with what it said last.
        """
        for message in self._messages():
            if isinstance(message, pipes.Ready):
                return message.code
        raise self._ended()

    def play(
        self,
        job: Job,
        run: Run,
        sink: RunWriter,
        *,
        progress: Tell | None = None,
        kin: Kin | None = None,
    ) -> Played:
        """Play the run, append what happens to the new one as it happens, and close that.

        ``kin`` is asked here for what the child finds nowhere in its recording.

        Raises
        ------
        NotReplayable
            The child was killed, or took too long: the new run has ended as failed or cancelled.
        """
        self._feed(lambda: _recording(job, run, kin=kin is not None))
        self._keeper = keeper = Keeper(sink)
        try:
            played = self._played(keeper, progress, kin)
        except WorkbenchError as error:
            keeper.end(error, status="cancelled" if self._stopped else "failed")
            raise
        except BaseException as error:
            self._kill()
            keeper.end(error, status="cancelled")
            raise
        try:
            keeper.close()
        except Exception as error:  # noqa: BLE001 - the agent has ended: what came of it stands
            return replace(played, unwritten=str(error))
        return played

    def _played(self, keeper: Keeper, progress: Tell | None, kin: Kin | None) -> Played:
        for message in self._messages(progress):
            if isinstance(message, pipes.Batch):
                keeper.append(message)
            elif isinstance(message, pipes.Missed) and kin is not None:
                self._feed(functools.partial(_kindred, kin, message))
            elif isinstance(message, pipes.Answer):
                return _played(message.played)
        raise self._ended()

    def _agent_message(self) -> Iterator[pipes.Message]:
        yield pipes.Agent(name=self.agent, distributions=code.distributions())

    def _feed(self, messages: Any) -> None:
        """Send messages from a thread of our own: the child may say much before it listens."""

        def feed() -> None:
            try:
                with self._turn, suppress(BrokenPipeError):
                    for message in messages():
                        rest = memoryview(pipes.framed(message))
                        while rest and self._process.stdin is not None:
                            rest = rest[self._process.stdin.write(rest) :]
            except Exception as error:  # noqa: BLE001 - the child would wait for the rest
                self._failed = error
                self._kill()

        self._feeding.append(ours.started(feed, name="workbench-child"))

    # ---- what it says

    def _messages(self, progress: Tell | None = None) -> Iterator[pipes.Message]:
        """Give what the child says until it is gone."""
        while True:
            while self._read:
                message = self._read.pop(0)
                if isinstance(message, pipes.Problem):
                    raise WorkbenchError.from_problem(message.problem)
                if isinstance(message, pipes.Progress) and progress is not None:
                    progress(message.done, message.total)
                yield message
            if self._stopped or not self._heard():
                return

    @property
    def _stopped(self) -> bool:
        if self._keeper is not None and self._keeper.cancelled:
            self._cancelled = True
        late = self._until is not None and time.monotonic() > self._until
        return self._cancelled or late

    def _heard(self) -> bool:
        """Take what comes within a moment; say whether more may come."""
        gone = self._process.poll() is not None
        for key, _ in self._selector.select(0 if gone else _TICK_S):
            piece = os.read(key.fd, _AT_ONCE)
            if not piece:
                self._selector.unregister(key.fileobj)
            elif key.fileobj is self._process.stdout:
                self._read += self._frames.take(piece)
                gone = False
            else:
                self._said = (self._said + piece)[-_LAST_WORDS:]
                gone = False
        return not gone

    def _ended(self) -> WorkbenchError:
        if isinstance(self._failed, WorkbenchError):
            return self._failed
        if self._failed is not None:
            return NotReplayable("the recording could not be sent", found=repr(self._failed))
        if self._stopped:
            self._kill()
        if self._cancelled:
            return NotReplayable("the isolated replay was cancelled")
        if self._stopped:
            return NotReplayable(
                "the isolated replay took longer than it was given",
                hint="give it a longer timeout, or look at what the agent waits for",
            )
        status = self._process.wait()
        said = self._said.decode("utf-8", "replace").strip()
        return NotReplayable(
            "the isolated replay ended before its time",
            found=said.splitlines()[-1] if said else _status(status),
            hint="the agent must work in a process of its own, from the same folder",
        )


def _from_here() -> tuple[str, ...]:
    """Return what a child runs, with our own `sys.path` in place of what it would begin with."""
    *options, script = _CHILD
    return (*options, _FROM_HERE + script)


def _environment(hash_seed: str | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept if hash_seed is None else {**kept, "PYTHONHASHSEED": hash_seed}


def _kindred(kin: Kin, missed: pipes.Missed) -> Iterator[pipes.Message]:
    found = kin.first(missed.signature, missed.effect)
    if found is None:
        yield pipes.Kindred()
        return
    call, bodies = found.call, found.bodies or {}
    held = str((call.outcome or {}).get("message"))
    named = {held: bodies[held]} if held in bodies else {}
    yield pipes.Kindred(call=call, bodies=named, run_id=found.run_id)


def _recording(job: Job, run: Run, *, kin: bool) -> Iterator[pipes.Message]:
    from workbench import frames

    for messages in _parts(run.pool().items()):
        yield pipes.batch([], dict(messages))
    for events in _parts(frames.heard(run.pages())):
        yield pipes.batch(events, {})
    yield pipes.Order(session=job.session, options=job.options, kin=kin)


def _parts(whole: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(whole)
    while part := list(islice(rest, _PART)):
        yield part


def _status(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _played(answer: dict[str, Any]) -> Played:
    return Played(
        mode=answer["mode"],
        policy=answer["policy"],
        identical=answer["identical"],
        divergences=[Divergence.from_dict(found) for found in answer["divergences"]],
        notices=[Divergence.from_dict(found) for found in answer["notices"]],
        answered=Answers(Answered(**row) for row in answer["answered"]),
        unconsumed=answer["unconsumed"],
        normalisers=answer["normalisers"],
        renamed=answer["renamed"],
        status=answer["status"],
        unwritten=answer["unwritten"],
        output=values.thaw(answer["output"]),
    )
