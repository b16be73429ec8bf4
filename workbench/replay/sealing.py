"""No socket but those of an empty network: a filter that a process puts on itself, for good.

A network namespace of its own does not keep a process from sockets that have a path, nor from those
of a virtual machine's host. The kernel refuses them here: to C libraries, to threads that run
already, and to all processes that are started later.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
from typing import NamedTuple

# the families that live in a network namespace, which is empty
_INSIDE = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET)
_IO_URING_SETUP = 425  # it makes sockets without asking for one
_OTHER_CALLS = 0x4000_0000  # x86's second table of the same calls
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _REFUSE, _KILL = 0x7FFF_0000, 0x0005_0000 | errno.EACCES, 0x8000_0000
_SET_FILTER, _ALL_THREADS, _NO_NEW_PRIVILEGES = 1, 1, 38


class _Machine(NamedTuple):
    """What a kernel calls a kind of processor, and the numbers of two of its calls."""

    architecture: int
    socket: int
    seccomp: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 41, 317), "aarch64": _Machine(0xC00000B7, 198, 277)}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("then", ctypes.c_uint8),
        ("otherwise", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def possible() -> bool:
    """Say whether the calls of this kind of processor are known."""
    return platform.machine() in _MACHINES


def seal() -> None:
    """Refuse every socket that could lead out of the process's network namespace.

    Raises
    ------
    OSError
        The kernel takes no such filter.
    """
    machine = _MACHINES[platform.machine()]
    made = _instructions(machine)
    instructions = (_Instruction * len(made))(*made)
    wanted = _Filter(len(made), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(wanted)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _instructions(machine: _Machine) -> list[_Instruction]:
    families = len(_INSIDE)
    refuse = families + 3  # from the first of the questions below
    return [
        _Instruction(_LOAD, 0, 0, _ARCHITECTURE_AT),
        _Instruction(_EQUAL, 1, 0, machine.architecture),
        _Instruction(_RETURN, 0, 0, _KILL),
        _Instruction(_LOAD, 0, 0, _NUMBER_AT),
        _Instruction(_AT_LEAST, refuse, 0, _OTHER_CALLS),
        _Instruction(_EQUAL, refuse - 1, 0, _IO_URING_SETUP),
        _Instruction(_EQUAL, 0, families + 2, machine.socket),
        _Instruction(_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        *(
            _Instruction(_EQUAL, families - number, 0, family)
            for number, family in enumerate(_INSIDE)
        ),
        _Instruction(_RETURN, 0, 0, _REFUSE),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    ]
