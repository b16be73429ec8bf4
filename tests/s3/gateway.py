"""A real S3 object gateway on loopback: one Ceph monitor, one in-memory disk, one gateway."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph-authtool")
ACCESS, SECRET = "workbench", "workbench-of-a-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    endpoint: str
    access: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "default",
        }


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextlib.contextmanager
def object_gateway(folder: Path):
    conf, ports = _configure(folder)
    ceph = ["-c", str(conf)]
    _make_monitor(folder, ceph, ports["mon"])
    children = []
    try:
        children.append(_spawn(folder, "mon", ["ceph-mon", *ceph, "-f", "-i", "a"]))
        _run("ceph", *ceph, "mon", "stat")
        osd = _run("ceph", *ceph, "osd", "create").strip()
        _run("ceph", *ceph, "osd", "crush", "add", f"osd.{osd}", "1", "root=default")
        fsid = _fsid(folder)
        _run("ceph-osd", *ceph, "-i", osd, "--mkfs", "--mkkey", "--osd-uuid", fsid)
        children.append(_spawn(folder, "osd", ["ceph-osd", *ceph, "-f", "-i", osd]))
        children.append(_spawn(folder, "rgw", ["radosgw", *ceph, "-f", "-n", "client.rgw"]))
        endpoint = f"http://127.0.0.1:{ports['rgw']}"
        _wait_for(endpoint, children)
        keys = ["--access-key", ACCESS, "--secret-key", SECRET]
        _run("radosgw-admin", *ceph, "user", "create", "--uid=test", "--display-name=test", *keys)
        yield Gateway(endpoint=endpoint, access=ACCESS, secret=SECRET)
    finally:
        for child in reversed(children):
            _end(child)


def _configure(folder: Path) -> tuple[Path, dict[str, int]]:
    for name in ("mon", "osd", "log", "run"):
        (folder / name).mkdir(parents=True)
    ports = {"mon": _free_port(), "rgw": _free_port()}
    conf = folder / "ceph.conf"
    conf.write_text(f"""\
[global]
fsid = {uuid.uuid4()}
mon host = [v1:127.0.0.1:{ports["mon"]}]
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon osd full ratio = 0.99
mon data avail crit = 1
mon data avail warn = 2
osd objectstore = memstore
memstore page set = false
memstore device bytes = 1073741824
osd journal = {folder}/osd/journal
osd crush update on start = false
osd class update on start = false
osd class load list = *
osd class default list = *
mon data = {folder}/mon
osd data = {folder}/osd
run dir = {folder}/run
log file = {folder}/log/$name.log
admin socket = {folder}/run/$name.asok
keyring = {folder}/keyring
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{ports["rgw"]}
""")
    return conf, ports


def _make_monitor(folder: Path, ceph: list[str], port: int) -> None:
    ring, monmap = str(folder / "keyring"), str(folder / "monmap")
    allow = [part for cap in ("mon", "osd", "mgr") for part in ("--cap", cap, "allow *")]
    _run("ceph-authtool", "--create-keyring", ring, "--gen-key", "-n", "mon.", *allow[:3])
    _run("ceph-authtool", ring, "--gen-key", "-n", "client.admin", *allow)
    address = f"[v1:127.0.0.1:{port}]"
    _run("monmaptool", "--create", "--fsid", _fsid(folder), "--addv", "a", address, monmap)
    _run("ceph-mon", *ceph, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", ring)


def _fsid(folder: Path) -> str:
    return (folder / "ceph.conf").read_text().split("fsid = ")[1].split()[0]


def _spawn(folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    with (folder / "log" / f"{name}.out").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def _wait_for(endpoint: str, children: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if any(child.poll() is not None for child in children):
            raise RuntimeError("a part of the object gateway ended early")
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(endpoint, timeout=2)
            return
        time.sleep(0.2)
    raise RuntimeError("the object gateway did not answer in 90 s")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
