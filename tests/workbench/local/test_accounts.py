"""Root and ordinary users, each with no network, below closed folders, in a long home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

import workbench as wb
from workbench.local import account

_REPOSITORY = Path(__file__).parents[3]
_CYCLE = Path(__file__).with_name("cycle.py")
_LONG = f"{'a b ' * 40:.150}/häuser 'n\" $HOME"
_ORDINARY = 61000  # no line in /etc/passwd


def _interpreter(user: int | None) -> str:
    """Return a Python that this user can run and that finds our packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            tried = subprocess.run(
                [candidate, "-c", "import workbench.local, psycopg"],
                env=_environment("/nonexistent"),
                cwd="/",
                capture_output=True,
                user=user,
                check=False,
            )
        except OSError:
            continue
        if tried.returncode == 0:
            return candidate
    return pytest.skip(f"no {version} that user {user} may read runs our packages")


def _environment(home: str) -> dict[str, str]:
    paths = (_REPOSITORY, _REPOSITORY / "server", Path(psycopg.__file__).parents[1])
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "WORKBENCH_HOME": home,
        "HOME": "/nonexistent",
    }


def _cycle(user: int | None, *, apart: list[str]) -> dict:
    """Run a whole life of a stack as this user, in a network of its own with only `lo`.

    The home lies below a folder that only this user may enter.
    """
    interpreter = _interpreter(user)
    folder = Path(tempfile.mkdtemp(prefix="wb-home-"))
    try:
        if user is not None:
            os.chown(folder, user, user)
        script = 'ip link set lo up && exec "$@"'
        command = [*apart, "sh", "-c", script, "sh", interpreter, str(_CYCLE)]
        environment = _environment(str(folder / _LONG))
        options = {} if user is None else {"user": user, "group": user, "extra_groups": ()}
        ended = subprocess.run(
            command,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        if "unshare failed" in ended.stderr:
            pytest.skip(f"this machine allows no namespaces: {ended.stderr.strip()}")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)
    finally:
        shutil.rmtree(folder)


def _assert_whole(seen: dict) -> None:
    assert all(seen["findings"].values()), seen["findings"]
    assert (seen["rows"], seen["workspace"]) == (0, "a b")
    assert seen["interfaces"] == ["lo"]
    assert len(seen["socket"]) < 108
    assert seen["same_modes"]
    assert not seen["left"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_without_network_in_a_long_home_below_a_closed_folder():
    seen = _cycle(None, apart=["unshare", "-n"])
    _assert_whole(seen)
    assert seen["database_uid"] not in {0, 65534}


def test_an_ordinary_user_without_network_in_a_long_home():
    user = _ORDINARY if os.geteuid() == 0 else None
    seen = _cycle(user, apart=["unshare", "-c", "-n", "--keep-caps"])
    _assert_whole(seen)
    assert seen["uid"] == seen["database_uid"] != 0


_LOOK = "import workbench as wb; print(wb.open().workspace_id)"


def test_a_running_stack_is_reached_from_another_network(stack):
    with wb.open() as store:
        expected = store.workspace_id
    apart = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-c", "-n", "--keep-caps"]
    command = [*apart, sys.executable, "-c", _LOOK]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in ended.stderr:
        pytest.skip(f"this machine allows no namespaces: {ended.stderr.strip()}")
    assert (ended.returncode, ended.stdout.strip()) == (0, expected), ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_each_home_of_root_has_a_database_user_that_no_account_names(tmp_path):
    found = account.database_account(tmp_path / "postgres")
    assert found.is_other
    assert not found.is_named
    assert found.uid in range(61184, 65520)


def test_a_database_keeps_the_user_it_was_made_with(tmp_path):
    tmp_path.joinpath("postgres").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "postgres", 12345, 12346)
        assert account.Account(uid=12345, gid=12346) == account.database_account(
            tmp_path / "postgres"
        )
    else:
        assert account.own_account() == account.database_account(tmp_path / "postgres")
