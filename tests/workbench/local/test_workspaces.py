"""Workspaces of the local stack: their names, and the keys that it keeps."""

import json
import os
import re
import subprocess
import sys

import psycopg
import pytest

import workbench as wb
from workbench.errors import UsageError
from workbench.local.client import connected
from workbench.local.home import credentials, read_json
from workbench.settings import workspace_name

SENSIBLE = [
    "default",
    "a",
    "team-1",
    "a b",
    "other one/ü",
    "研究",
    "x" * 100,
    "me@host:1",
    "_x.y+z",
]
SENSELESS = [
    "",
    " ",
    " a",
    "a ",
    "a\nb",
    "a\0",
    "x" * 101,
    "-a",
    "..",
    "a'b",
    "a;b",
    'a"b',
    "a\u202eb",
    "a\tb",
]


@pytest.mark.parametrize("name", SENSIBLE)
def test_a_sensible_name_is_a_workspace_s(name):
    assert workspace_name(name) == name


@pytest.mark.parametrize("name", SENSELESS)
def test_a_senseless_name_is_none(name):
    with pytest.raises(UsageError, match="cannot be a workspace's name"):
        workspace_name(name)


def owner_of(home):
    runtime = read_json(home.supervisor)["runtime"]
    password = credentials(home)["owner"]
    return f"postgresql://workbench_owner:{password}@/workbench?host={runtime}/pg"


def names_of(home):
    """The workspaces that the stack's database has."""
    with psycopg.connect(owner_of(home)) as owner:
        return {name for (name,) in owner.execute("select name from workspaces").fetchall()}


def read_with(name, *, by):
    option, variable = (
        ((f"--workspace={name}",), {}) if by == "option" else ((), {"WORKBENCH_WORKSPACE": name})
    )
    return subprocess.run(
        [sys.executable, "-m", "workbench", "runs", "--json", *option],
        env=dict(os.environ) | variable, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("by", ["option", "variable"])
@pytest.mark.parametrize("name", [" a", "a;b", "x" * 101])
def test_reading_with_a_senseless_name_makes_no_workspace(stack, name, by):
    with wb.open():
        before = names_of(stack)
        done = read_with(name, by=by)
        assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "usage_error")
        assert names_of(stack) == before


def test_the_supervisor_refuses_a_senseless_name_as_well(stack):
    with wb.open(), connected(stack) as supervisor:
        supervisor.wait_at_most(30)
        supervisor.ask({"op": "workspace", "name": "a;b"})
        assert supervisor.next()["error"]["code"] == "usage_error"
    assert "a;b" not in names_of(stack)


def test_the_stack_s_key_has_the_form_that_scanners_find(stack):
    with wb.open() as store:
        key = read_json(stack.keys)["default"]
        assert re.fullmatch(r"wbk_[0-9a-f]{12}_[0-9a-f]{64}", key)
        (listed,) = store.administration.keys()
        assert (listed["prefix"], listed["name"]) == (key[:16], "local stack")
    assert stack.keys.stat().st_mode & 0o777 == 0o600


def test_a_key_of_an_earlier_version_goes_on(stack):
    """It was put into the file and into the database before keys had ids."""
    with wb.open(workspace="earlier") as store:
        old = "wb_" + "o" * 43
        with psycopg.connect(owner_of(stack)) as owner:
            owner.execute(
                "insert into api_keys (key_hash, workspace_id, role) values (sha256(%s), %s, 'admin')",
                [old.encode(), store.workspace_id],
            )
    stack.keys.write_text(json.dumps(read_json(stack.keys) | {"earlier": old}))
    with wb.open(workspace="earlier") as again:
        assert again.runs().is_empty()
    assert read_json(stack.keys)["earlier"] == old


def test_a_stack_whose_key_was_revoked_makes_itself_another(stack):
    with wb.open(workspace="shut") as store:
        spare = store.administration.create_key("admin")
        found = store.administration.keys()
        (mine,) = [key for key in found if key["name"] == "local stack"]
        store.administration.revoke_key(mine["key_id"])
    before = read_json(stack.keys)["shut"]
    with wb.open(workspace="shut") as again:
        found = again.administration.keys()
        status = {key["key_id"]: key["status"] for key in found}
    assert read_json(stack.keys)["shut"] != before
    assert status.pop(mine["key_id"]) == "revoked"
    assert status.pop(spare["key"]["key_id"]) == "live"
    assert list(status.values()) == ["live"]
