"""A home that cannot be used is said to be one, before anything starts."""

from __future__ import annotations

import os

import pytest

import workbench as wb
from workbench import local
from workbench.errors import HomeUnreadable
from workbench.local import home as homes
from workbench.local import runtime


def test_a_home_that_is_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("WORKBENCH_URL", raising=False)
    with pytest.raises(HomeUnreadable) as caught:
        wb.open()
    assert str(tmp_path / "file") in str(caught.value.where)
    assert "WORKBENCH_HOME" in str(caught.value.hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(HomeUnreadable):
        local.up(local.home_at(tmp_path / "home"))


def test_a_home_on_a_file_system_that_takes_no_files_is_refused():
    with pytest.raises(HomeUnreadable):
        local.up(local.home_at("/proc/workbench"))


def test_a_user_without_a_home_is_told_to_choose_a_folder(monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", "~nobody-of-this-name/.workbench")
    assert str(local.home_at().path) == "/nonexistent/.workbench"


def test_broken_credentials_are_an_error_and_are_not_replaced(tmp_path):
    found = local.home_at(tmp_path)
    (tmp_path / "credentials.json").write_text("{")
    with pytest.raises(HomeUnreadable):
        homes.credentials(found)
    assert (tmp_path / "credentials.json").read_text() == "{"


def test_credentials_are_made_once(tmp_path):
    found = local.home_at(tmp_path)
    first = homes.credentials(found)
    assert first == homes.credentials(found)
    assert len(set(first.values())) == 4


def test_the_runtime_folder_is_short_private_and_never_somebody_elses(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 80)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    made = runtime.make()
    try:
        assert len(str(made)) < 80
        assert runtime.is_private(made)
        made.chmod(0o755)
        assert not runtime.is_private(made)
    finally:
        runtime.remove(made)
    assert not made.exists()
    link = tmp_path / "workbench-link"
    link.symlink_to(long)
    assert not runtime.is_private(link)
    runtime.remove(link)
    assert long.exists()


def test_the_users_runtime_folder_is_taken_when_it_is_private(tmp_path_factory, monkeypatch):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        made = runtime.make()
        assert str(made.parent) == short
