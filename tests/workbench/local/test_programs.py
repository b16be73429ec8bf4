"""Postgres' programs are copied where its user cannot reach the installed ones."""

from __future__ import annotations

import os
import shutil

import pytest

from workbench.errors import MissingDependency
from workbench.local import account, programs


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
def test_programs_in_a_closed_folder_are_copied_and_run(tmp_path, monkeypatch):
    package = programs.installed().parent
    closed = tmp_path / "closed"
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).exists():
            skipped = shutil.ignore_patterns("pginstall", "include", "*.a", "*.pyc")
            shutil.copytree(package.parent / name, closed / name, symlinks=True, ignore=skipped)
    closed.chmod(0o700)
    monkeypatch.setattr(programs, "installed", lambda: closed / package.name / "pginstall18")
    other = account.Account(uid=61234, gid=61234)
    found, copy = programs.reachable(other)
    try:
        assert copy is not None
        assert found.is_relative_to(copy)
        assert programs._runs(found, other)
    finally:
        shutil.rmtree(copy)


def test_programs_that_can_be_reached_are_not_copied():
    assert programs.reachable(account.own_account()) == (programs.installed(), None)


def test_a_missing_wheel_says_what_to_do(monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match="WORKBENCH_DATABASE_URL"):
        programs.installed()
