"""The rules of a workspace as this machine knows them, and what holds where it does not."""

import pytest

from workbench.redaction import check_rules, redact
from workbench.store import rules
from workbench.store.wire import Wire

HIDDEN = [
    "ann.b+c@mail.example.org",
    "4111 1111 1111 1111",
    "4111111111111111",
    "3782-8224-6310-005",
    "GB82 WEST 1234 5698 7654 32",
    "sk-abcdefghijklmnopqrst",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "Bearer abcdefghijklmnopqrstuvwxyz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
]
SHOWN = ["1732232000000", "1732232000000000000", "2026-01-31", "order A1", "a@b", "01a2009a-f171"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def known(server):
    wires = []

    def made(**more):
        wires.append(Wire(server.url, more.get("api_key", server.api_key)))
        return rules.WorkspaceRules(wires[-1], address=more.get("address", server.url))

    yield made
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("text", HIDDEN)
def test_the_built_in_rules_hide(text):
    made = redact(f"say {text}, please", rules.BUILT_IN, b"k")
    assert made.startswith("say ⟨")
    assert made.endswith("⟩, please")


@pytest.mark.parametrize("text", SHOWN)
def test_the_built_in_rules_leave_alone(text):
    assert redact(text, rules.BUILT_IN, b"k") == text


def test_the_built_in_rules_are_rules():
    check_rules(rules.BUILT_IN)


def test_this_machine_s_key_is_its_own_and_nobody_else_s(home):
    key = rules.local_key()
    assert key == rules.local_key()
    kept = home / "redaction" / "key"
    assert (len(key), kept.stat().st_mode & 0o777) == (32, 0o600)
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_where_no_disk_keeps_a_key_one_is_made_all_the_same(home, caplog):
    home.write_text("no folder")
    assert len(rules.local_key()) == 32
    assert "cannot be kept" in caplog.text


def test_what_was_asked_is_known_to_the_same_key_at_the_same_address_alone(server, known):
    workspace = str(server.workspace.workspace_id)
    asked = known().ask(workspace)
    assert known().last(workspace) == known().last(None) == asked
    assert known(api_key="another").last(None) is None
    assert known(address="http://elsewhere").last(None) is None
    assert known(address="http://elsewhere").last(workspace) is None


def test_a_damaged_file_is_as_good_as_none(server, home, known):
    workspace = str(server.workspace.workspace_id)
    known().ask(workspace)
    (kept,) = (home / "redaction").glob("*.json")
    kept.write_text("{")
    assert known().last(workspace) is None
    assert known().last(None) is None
    known().ask(workspace)
    assert known().last(workspace) is not None
