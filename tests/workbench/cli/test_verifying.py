"""``workbench verify``, ``export --bundle`` and ``replay`` of a file, as they are typed."""

import json
import sys
from pathlib import Path

import pytest

import workbench as wb
from workbench import cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Run a command in a folder of its own; gives (exit code, what it printed, what it told)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def run():
    store = wb.open(ROOT / "datasets")
    return store.run(store.runs()["run_id"][0])


def test_a_run_is_bundled_verified_and_replayed_elsewhere(typed, run, tmp_path):
    code, said, _ = typed("export", run.run_id, "--bundle", "run.zip", "--store", ROOT / "datasets")
    assert (code, said.split()[1]) == (0, run.run_id)

    code, said, _ = typed("verify", "run.zip", "--rerun", "--no-isolate", "--json")
    names = {check["name"] for check in json.loads(said)["checks"]}
    assert (code, json.loads(said)["ok"]) == (0, True)
    assert {"bundle", "source.log_root", "rerun.content_root"} <= names

    code, said, _ = typed("replay", "run.zip", "--no-isolate", "--json")
    assert (code, json.loads(said)["identical"]) == (0, True)

    raw = bytearray((tmp_path / "run.zip").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "run.zip").write_bytes(bytes(raw))
    code, said, _ = typed("verify", "run.zip")
    assert code == 1
    assert "FAILED" in said
    assert said.splitlines()[-1] == "NOT verified: 1 of 1 fail"


def test_a_run_and_a_certificate_are_verified_in_their_store(typed, run, tmp_path):
    code, said, _ = typed("verify", run.run_id, "--store", ROOT / "datasets")
    assert (code, said.splitlines()[-1]) == (0, "verified")

    result = wb.replay(run)
    result.save(tmp_path / "certificate.json")
    folder = Path(result.run.store.address)
    code, said, _ = typed("verify", folder / "certificate.json", "--json")
    assert (code, json.loads(said)["ok"]) == (0, True)
    code, said, _ = typed("verify", "certificate.json", "--store", folder, "--json")
    assert (code, json.loads(said)["ok"]) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("verify", "none.zip", "--store", ROOT / "datasets"), "run_not_found"),
        (("verify", "run.zip", "--no-isolate"), "by --rerun only"),
        (("verify", "thesis.json"), "compared with the runs"),
        (("export", "x"), "--to, or a file by --bundle"),
        (("export", "x", "--to", "a", "--bundle", "b"), "--to, or a file by --bundle"),
        (("export", "x", "y", "--bundle", "b", "--store", ROOT / "datasets"), "of one run"),
    ],
)
def test_wrong_use_exits_with_2(typed, tmp_path, arguments, reason):
    (tmp_path / "thesis.json").write_text("{}")
    code, _, told = typed(*arguments)

    assert code == 2
    assert reason in told
