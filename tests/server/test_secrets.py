"""No key and no password in any log, on standard error, or in any answer that is a problem."""

import json
import os
import re
import subprocess
import sys
import threading

import httpx
import pytest
from running import _environment, _url_of, service
from speaking import Client, a_whole_run

KEY = "wbk_0a1b2c3d4e5f_" + "S3cr3t" * 7 + "x"
OLD_KEY = "wb_0lds3cr3tKeyOfTheLocalStack-0123456789_x"
PASSWORD = "hunter2hunter2"
SECRETS = (KEY[17:], OLD_KEY[3:], PASSWORD)


class Listener:
    """Everything that a process says, and none of what it was told to keep to itself."""

    def __init__(self, process):
        self.lines = []
        self._thread = threading.Thread(target=self._listen, args=(process,), daemon=True)
        self._thread.start()

    def _listen(self, process):
        self.lines.extend(process.stderr)

    def all(self):
        self._thread.join(20)
        return "".join(self.lines)


@pytest.fixture
def talkative(database, tmp_path):
    """The environment of parts that log all they can."""
    return _environment(database, tmp_path) | {"WORKBENCH_LOG_LEVEL": "debug", "PYTHONUTF8": "1"}


def wrong_places(key):
    """Requests with a key where none belongs."""
    at = f"/v1/runs/{key}"
    bearer = {"Authorization": f"Bearer {key}"}
    yield "GET", f"/v1/runs?api_key={key}", {}
    yield "GET", f"/v1/runs?{key}=1", {}
    yield "GET", f"/v1/runs?status={key}", {"headers": bearer}
    yield "GET", f"/v1/runs?cursor={key}", {"headers": bearer}
    yield "GET", f"/v1/runs?q={key}", {"headers": bearer}
    yield "GET", at, {}
    yield "GET", at, {"headers": bearer}
    yield "GET", f"{at}/events/stream", {"headers": bearer | {"Last-Event-ID": key}}
    yield "GET", f"/v1/artifacts/{key}", {"headers": bearer}
    yield "GET", f"/{key}", {}
    yield "DELETE", f"/v1/keys/{key}", {"headers": bearer}
    yield "POST", f"/v1/keys/{key}/rotate", {"headers": bearer}
    yield "POST", "/v1/keys", {"headers": bearer, "json": {"role": key}}
    yield "POST", "/v1/keys", {"headers": bearer, "json": {key: key}}
    yield "PATCH", "/v1/limits", {"headers": bearer, "json": {key: 1}}
    yield "POST", "/v1/runs", {"headers": bearer, "json": {"run_id": key}}
    yield "POST", "/v1/runs", {"headers": bearer, "json": {key: 1}}
    yield "POST", "/v1/runs", {"headers": bearer, "content": key}
    yield "POST", f"{at}/events", {"headers": bearer, "content": key}
    yield "GET", "/v1/runs", {"headers": {"Authorization": f"Basic {key}"}}
    yield "GET", "/v1/runs", {"headers": {"Authorization": key}}
    yield "GET", "/v1/runs", {"headers": {"X-API-Key": key, "X-Request-Id": key}}
    yield "GET", "/v1/runs", {"headers": bearer | {"X-Request-Id": key}}
    yield "BREW", "/v1/runs", {"headers": bearer}
    yield "PUT", "/v1/runs", {"headers": bearer | {"Content-Type": key}, "content": key}


def shown(texts):
    return [secret for secret in SECRETS for text in texts if secret in text]


def test_no_secret_in_any_log_or_problem(database, talkative):
    """The keys are known to the server: what is right about a request is no reason to show them."""
    from workbench_server.workspaces import create_workspace

    for key in (KEY, OLD_KEY):
        create_workspace(database.owner_url, name="mine", key=key)
    said, problems = [], []
    with service("worker", environment=talkative) as worker:
        heard = [Listener(worker)]
        with service("serve", "--port", "0", environment=talkative) as process:
            url = _url_of(process)
            heard.append(Listener(process))
            for key in (KEY, OLD_KEY):
                each = Client(url, key)
                each.send(each.create(), *a_whole_run())
                each.http.post("/snapshots")
                each.http.close()
                for method, path, sent in wrong_places(key):
                    answer = httpx.request(method, url + path, timeout=30, **sent)
                    assert answer.status_code < 500, answer.text
                    if answer.status_code >= 400:
                        problems.append(answer.text)
                        problems.append(str(answer.headers))
            # And what goes wrong: the database closes its doors.
            import psycopg

            with psycopg.connect(database.owner_url, autocommit=True) as owner:
                owner.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            httpx.get(f"{url}/v1/runs", headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        said = [listener.all() for listener in heard[1:]]
    said += [listener.all() for listener in heard[:1]]
    password = re.search(r":([^:@]+)@", database.app_url)[1]
    assert sum(map(len, said)) > 1000, "nothing was logged"
    assert shown(said) == []
    assert not any(password in text for text in said)
    assert shown(problems) == []


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://workbench_app:{PASSWORD}@127.0.0.1:1/none",
        f"postgresql//workbench_app:{PASSWORD}@127.0.0.1:1/none",
        f"postgresql://workbench_app:{PASSWORD}@127.0.0.1:port/none",
        f"host=127.0.0.1 port=1 user=x password={PASSWORD}",
        f"host=127.0.0.1 port=x user=x password={PASSWORD} colour=red",
    ],
)
def test_no_password_of_an_address_that_fails(talkative, command, address):
    names = (
        "WORKBENCH_DATABASE_URL",
        "WORKBENCH_APP_DATABASE_URL",
        "WORKBENCH_WORKER_DATABASE_URL",
    )
    done = subprocess.run(
        [sys.executable, "-m", "workbench_server", command],
        env=talkative | dict.fromkeys(names, address),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": "."} | environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_no_key_or_password_on_the_command_line_s_output(server, more):
    known = {"WORKBENCH_URL": server.url, "WORKBENCH_API_KEY": KEY}
    with_password = f"http://me:{PASSWORD}@127.0.0.1:1"
    for done in (
        command("runs", *more, **known),  # a key the server does not know
        command("show", KEY, *more, **known | {"WORKBENCH_API_KEY": server.api_key}),
        command("keys", "revoke", KEY, *more, **known | {"WORKBENCH_API_KEY": server.api_key}),
        command("runs", "--store", with_password, *more, WORKBENCH_API_KEY=KEY),
        command("runs", *more, WORKBENCH_URL=with_password, WORKBENCH_API_KEY=KEY),
    ):
        assert done.returncode in (2, 3), done.stderr
        assert shown([done.stdout, done.stderr]) == []


def test_what_is_masked_and_what_is_not():
    from workbench.masking import without_secrets

    for text, masked in (
        (f"with {KEY}, and", "with wbk_0a1b2c3d4e5f_***, and"),
        (OLD_KEY, "wb_***"),
        ("Authorization: Bearer abcdefg", "Authorization: Bearer ***"),
        (f"postgresql://u:{PASSWORD}@h/d", "postgresql://u:***@h/d"),
        (f"host=h password={PASSWORD} port=1", "host=h password=*** port=1"),
        (f"host=h password='{PASSWORD} x' port=1", "host=h password=*** port=1"),
        ("wbk_0a1b2c3d4e5f is its prefix", "wbk_0a1b2c3d4e5f is its prefix"),
        ("http://127.0.0.1:8600/v1/runs", "http://127.0.0.1:8600/v1/runs"),
        ("a wb_short name", "a wb_short name"),
    ):
        assert without_secrets(text) == masked
        assert json.loads(without_secrets(json.dumps({"a": text})))["a"] == masked
