"""``wb.open`` finds the right kind of store."""

from __future__ import annotations

import psycopg
import pytest

import workbench as wb
from workbench import local
from workbench.errors import Unauthenticated, Unavailable, UsageError, WorkbenchError
from workbench.local.home import credentials, read_json
from workbench.schema import RunHeader


@pytest.fixture
def address(stack):
    with wb.open() as store:
        return store.address


def test_a_server_is_opened_by_its_address_and_key(stack, address, monkeypatch):
    monkeypatch.setenv("WORKBENCH_API_KEY", read_json(stack.keys)["default"])
    monkeypatch.setenv("WORKBENCH_HOME", "/nonexistent")
    with wb.open(address) as store:
        assert store.workspace == "default"
    monkeypatch.setenv("WORKBENCH_URL", address)
    with wb.open() as store:
        assert store.address == address
    with pytest.raises(UsageError):
        wb.open(workspace="another")


def test_a_server_without_a_key_or_that_is_not_there_is_an_error(stack, address, monkeypatch):
    monkeypatch.delenv("WORKBENCH_API_KEY", raising=False)
    with pytest.raises(Unauthenticated):
        wb.open(address)
    with pytest.raises(Unavailable):
        wb.open("http://127.0.0.1:9")


def test_a_stack_on_somebody_elses_database_uses_it_and_starts_none(home, monkeypatch):
    local.up(home)
    folder, secret = read_json(home.supervisor)["runtime"], credentials(home)["owner"]
    owner = f"postgresql://workbench_owner:{secret}@/%s?host={folder}/pg"
    with psycopg.connect(owner % "workbench", autocommit=True) as connection:
        connection.execute("create database elsewhere")
    second = home.path.parent / "second"
    monkeypatch.setenv("WORKBENCH_DATABASE_URL", owner % "elsewhere")
    monkeypatch.setenv("WORKBENCH_HOME", str(second))
    try:
        with wb.open() as store:
            run_id = store.create_run(RunHeader(name="there"))
        assert set(local.status(local.home_at())["parts"]) == {"server", "worker"}
        with psycopg.connect(owner % "elsewhere") as connection:
            found = connection.execute("select run_id::text from runs").fetchall()
        assert [(run_id,)] == found
    finally:
        local.down(local.home_at())


def test_a_folder_that_is_not_there_is_an_error_and_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    with pytest.raises(WorkbenchError):
        wb.open(tmp_path / "nothing")
    assert not (tmp_path / "home").exists()
    assert local.status(local.home_at()) is None
