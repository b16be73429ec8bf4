"""``keys``, ``limits`` and ``usage``, in this process."""

import json
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from handmade import exported, short_run

from workbench import cli
from workbench.cli.keys import moment, span
from workbench.errors import UsageError
from workbench.schema import RunHeader


@pytest.fixture
def command(monkeypatch, capsys, server):
    monkeypatch.setenv("WORKBENCH_URL", server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def listed(command):
    _, out, _ = command("keys", "list", "--json")
    return {key["key_id"]: key for key in json.loads(out)["keys"]}


def works(server, secret):
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{server.url}/v1/runs", headers=headers).status_code == 200


def test_a_new_key_is_printed_once_and_only_to_standard_output(command, server):
    code, out, err = command(
        "keys", "create", "--role", "reader", "--name", "ci", "--expires", "90d"
    )
    secret = out.strip()
    assert (code, works(server, secret)) == (0, True)
    assert secret not in err
    (key,) = [key for key in listed(command).values() if key["name"] == "ci"]
    left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)
    _, out, err = command("keys", "list")
    assert secret not in out + err
    assert [line.split()[1:4] for line in out.splitlines()[1:]] == [
        ["admin", "live", "-"],
        ["reader", "live", "ci"],
    ]


def test_a_new_key_as_json_is_one_document(command, server):
    code, out, _ = command("keys", "create", "--json")
    said = json.loads(out)
    assert (code, said["key"]["role"]) == (0, "writer")
    assert works(server, said["secret"])


def test_a_new_key_goes_into_a_file_for_its_owner_s_eyes(command, server, tmp_path):
    file = tmp_path / "new.key"
    code, out, err = command("keys", "create", "--to", file)
    secret = file.read_text().strip()
    assert (code, works(server, secret)) == (0, True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret not in out + err
    assert out.strip() == secret.split("_")[1]


def test_no_key_is_made_for_a_file_that_cannot_be_written(command, tmp_path):
    file = tmp_path / "taken"
    file.write_text("mine")
    code, out, err = command("keys", "create", "--to", file)
    assert (code, out, "usage_error" in err) == (2, "", True)
    assert (file.read_text(), len(listed(command))) == ("mine", 1)


def test_no_file_stays_where_no_key_was_made(command, tmp_path):
    file = tmp_path / "new.key"
    assert command("keys", "create", "--role", "king", "--to", file)[0] == 2
    assert not file.exists()


def test_a_key_is_rotated_and_the_old_one_goes_on(command, server):
    old = json.loads(command("keys", "create", "--json")[1])
    key_id = old["key"]["key_id"]
    code, out, _ = command("keys", "rotate", key_id, "--overlap", "1h")
    assert (code, works(server, out.strip()), works(server, old["secret"])) == (0, True, True)
    was = listed(command)[key_id]
    left = datetime.fromisoformat(was["expires_at"]) - datetime.now(UTC)
    assert (was["status"], timedelta(minutes=59) < left <= timedelta(hours=1)) == ("replaced", True)


def test_a_key_is_revoked(command, server):
    made = json.loads(command("keys", "create", "--json")[1])
    key_id = made["key"]["key_id"]
    assert command("keys", "revoke", key_id) == (0, f"{key_id} revoked\n", "")
    assert not works(server, made["secret"])


def test_the_last_admin_key_stays(command):
    (key_id,) = listed(command)
    code, out, err = command("keys", "revoke", key_id)
    assert (code, out) == (2, "")
    assert "Hint: Make another admin key first" in err


def test_a_writer_may_not_look_at_keys(command, server, monkeypatch):
    writer = server.make_workspace(server.workspace.name, role="writer")
    monkeypatch.setenv("WORKBENCH_API_KEY", writer.api_key)
    code, out, err = command("keys", "list")
    assert (code, out, "forbidden" in err) == (3, "", True)


def test_limits_are_shown_set_and_given_back(command):
    code, out, _ = command("limits", "events_per_s=5_000", "--json")
    said = json.loads(out)
    assert (code, said["set"], said["limits"]["events_per_s"]) == (0, {"events_per_s": 5000}, 5000)
    assert "5,000" in command("limits")[1]
    _, out, _ = command("limits", "events_per_s=", "--json")
    said = json.loads(out)
    assert (said["set"], said["limits"]) == ({}, said["defaults"])


@pytest.mark.parametrize(
    "change", ["x=1", "nesting=1000", "nesting=x", "nesting", "events_per_s=0"]
)
def test_a_limit_that_makes_no_sense_is_refused(command, change):
    code, out, err = command("limits", change)
    assert (code, out, "usage_error" in err) == (2, "", True)


def test_usage_is_shown_by_day(command, store):
    log = short_run()
    run_id = store.create_run(RunHeader(name="used"))
    store.append(run_id, log.events, log.bodies)
    code, out, _ = command("usage", "--json")
    said = json.loads(out)
    assert (code, said["total"]["runs"], said["total"]["events"]) == (0, 1, len(log.events))
    assert [day["events"] for day in said["days"]] == [len(log.events)]
    frame = store.administration.usage_by_day()
    assert frame["events"].to_list() == [len(log.events)]
    assert command("usage")[1].splitlines()[-1].split()[:3] == ["total", "1", str(len(log.events))]
    _, out, _ = command("usage", "--from", "2020-01-01", "--to", "2020-01-31", "--json")
    assert (json.loads(out)["days"], json.loads(out)["total"]["events"]) == ([], 0)
    assert store.administration.usage_by_day(
        first=datetime(2020, 1, 1, tzinfo=UTC), last=datetime(2020, 1, 2, tzinfo=UTC)
    ).is_empty()


@pytest.mark.parametrize(
    "days",
    [
        ("--from", "yesterday"),
        ("--from", "2026-02-01", "--to", "2026-01-01"),
        ("--from", "0001-01-01"),
    ],
)
def test_days_that_make_no_sense_are_refused(command, days):
    code, out, err = command("usage", *days)
    assert (code, out, "usage_error" in err) == (2, "", True)


def test_a_folder_has_no_keys(command, tmp_path):
    folder = exported(tmp_path / "runs", short_run())
    code, _, err = command("keys", "list", "--store", folder)
    assert (code, "a folder of exported runs has no keys" in err) == (2, True)


def test_spans_and_moments():
    assert [span(text).total_seconds() for text in ("5s", "30m", "2h", "1d")] == [
        5,
        1800,
        7200,
        86400,
    ]
    assert moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment("2026-03-01T01:00:00+01:00") == datetime(2026, 3, 1, tzinfo=UTC)
    for text in ("x", "5", "-5s", "5 parsecs"):
        with pytest.raises(UsageError):
            moment(text)
