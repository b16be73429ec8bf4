"""What a replay and its child say to each other, and the pipes that carry it.

A message is its length in eight bytes and then JSON. Both ends know when the other is gone.
"""

from __future__ import annotations

import fcntl
import os
import resource
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from workbench import recording, schema  # noqa: TC001 - what is decoded is read from these

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LENGTH = struct.Struct(">Q")
_AT_ONCE = 1 << 16
_HIGHEST = 4096  # the process's table of files grows with the number


class Agent(msgspec.Struct, tag="agent"):
    """To the child: what it imports, and the distributions that are installed here."""

    name: str
    distributions: dict[str, str]


class Batch(msgspec.Struct, tag="batch"):
    """To the child: a part of the recording; from it: a part of the new run."""

    events: list[schema.Event]
    bodies: dict[str, Any] = {}


class Order(msgspec.Struct, tag="order"):
    """To the child: the recording is complete; a session made so answers from it.

    ``kin`` says that it may ask for answers of kindred runs.
    """

    session: str
    options: dict[str, Any]
    kin: bool = False


class Ready(msgspec.Struct, tag="ready"):
    """From the child: the agent is imported, and this is its code."""

    code: dict[str, Any]


class Missed(msgspec.Struct, tag="missed"):
    """From the child: a call that finds no answer in the recording, and what it does."""

    signature: str
    effect: str


class Kindred(msgspec.Struct, tag="kindred"):
    """To the child: the call of a kindred run that answers what was missed, if there is one."""

    call: recording.RecordedCall | None = None
    bodies: dict[str, Any] = {}
    run_id: str | None = None


class Progress(msgspec.Struct, tag="progress"):
    """From the child: so many calls are answered, of so many that were recorded."""

    done: int
    total: int


class Answer(msgspec.Struct, tag="answer"):
    """From the child: what came of it, as plain JSON."""

    played: dict[str, Any]


class Problem(msgspec.Struct, tag="problem"):
    """From the child: why it cannot begin, or go on."""

    problem: dict[str, Any]


Message = Agent | Batch | Order | Ready | Missed | Kindred | Progress | Answer | Problem

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def batch(events: Sequence[schema.Event], bodies: Mapping[str, Any]) -> Batch:
    """Return events and bodies as a message."""
    return Batch(events=list(events), bodies=dict(bodies))


def framed(message: Message) -> bytes:
    """Return a message as its bytes."""
    written = _encode(message)
    return _LENGTH.pack(len(written)) + written


class Frames:
    """Puts pieces of bytes together to messages."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def take(self, piece: bytes) -> list[Message]:
        """Return the messages that are whole now."""
        self._kept += piece
        found = []
        begin = 0
        while len(self._kept) - begin >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._kept, begin)
            end = begin + _LENGTH.size + length
            if len(self._kept) < end:
                break
            # a copy: payloads stay views of what they were read from
            found.append(_decode(bytes(self._kept[begin + _LENGTH.size : end])))
            begin = end
        if begin:
            self._kept = self._kept[begin:]
        return found


class Ends:
    """The child's ends of both pipes, out of the way of whatever the agent does with its files.

    They are standard input and output when the process begins. From then on these are empty and
    standard error, and the pipes have high numbers that no other process inherits by starting.
    """

    def __init__(self) -> None:
        base = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _HIGHEST) - 8
        self._in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, base)
        self._out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, base)
        self._known = os.fstat(self._out)
        self._process = os.getpid()
        self._sending = threading.Lock()
        self._frames = Frames()
        self._read: list[Message] = []
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    @property
    def forked(self) -> bool:
        """Whether this is a process that the agent forked: the pipes are not its own."""
        return os.getpid() != self._process

    def receive(self) -> Message:
        """Return the next message.

        Raises
        ------
        EOFError
            The other side is gone.
        """
        while not self._read:
            piece = os.read(self._in, _AT_ONCE)
            if not piece:
                raise EOFError
            self._read = self._frames.take(piece)
        return self._read.pop(0)

    def send(self, message: Message) -> None:
        """Say something; the process ends where nobody can hear it."""
        if self.forked:
            return
        rest = memoryview(framed(message))
        try:
            with self._sending:
                now = os.fstat(self._out)
                if (now.st_dev, now.st_ino) != (self._known.st_dev, self._known.st_ino):
                    raise OSError("its number is another file's now")  # noqa: TRY301 - see below
                while rest:
                    rest = rest[os.write(self._out, rest) :]
        except OSError as error:
            said = f"the pipe that leads out of the replay was closed: {error}\n"
            os.write(2, said.encode())
            sys.stderr.flush()
            os._exit(1)
