"""Chromium and JupyterLab for tests; a plugin, loaded from conftest.py.

`page` is an offline page whose errors fail the test; `lab` a running JupyterLab.
Without Chromium the tests that ask for them skip.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.sessionContext?.session?.kernel?.status === "idle";
}"""


def pytest_collection_modifyitems(items):
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("lab"))


def chromium_path():
    named = os.environ.get("WORKBENCH_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def chromium():
    """A browser. One per module: Playwright's loop would disturb tests that run their own."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium: run tests/install-chromium.sh as root")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that may read files but reach nothing; an error in it fails the test."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    requests = []

    def refuse(route):
        requests.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), refuse)
    opened = watched(context.new_page())
    opened.requests = requests
    yield opened
    context.close()
    assert opened.problems == []
    assert requests == []


def watched(page):
    """Collect a page's errors in `problems`."""
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.set_default_timeout(30_000)
    return page


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running JupyterLab; notebooks lie in `root`."""

    root: Path
    url: str
    token: str
    log: Path

    def open(self, page, name):
        """Open a notebook and wait for its kernel."""
        page.goto(f"{self.url}/lab/tree/{name}?token={self.token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_function(READY, timeout=60_000)
        return page

    def command(self, page, name, **args):
        """Run one of JupyterLab's commands."""
        script = "([name, args]) => jupyterapp.commands.execute(name, args).then(() => null)"
        page.evaluate(script, [name, args])

    def run_all(self, page):
        """Run the notebook without waiting for it."""
        script = "() => { jupyterapp.commands.execute('notebook:run-all-cells'); }"
        page.evaluate(script)

    def cells(self, page):
        """Return the notebook's cells as JSON."""
        script = "() => jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
        return page.evaluate(script)

    def evaluate(self, page, code):
        """Run code in the notebook's kernel and return what it printed."""
        script = """async (code) => {
          const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          const request = kernel.requestExecute({ code, store_history: false });
          let out = "";
          request.onIOPub = (message) => {
            if (message.header.msg_type === "stream") out += message.content.text;
            if (message.header.msg_type === "error") out += "raised " + message.content.evalue;
          };
          await request.done;
          return out.trim();
        }"""
        return page.evaluate(script, code)

    def theme(self, page, name):
        """Switch to the theme of this name."""
        self.command(page, "apputils:change-theme", theme=name)
        light = str(name == "JupyterLab Light").lower()
        page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab on loopback with settings of its own."""
    if chromium_path() is None:
        pytest.skip("no Chromium: run tests/install-chromium.sh as root")
    root = tmp_path_factory.mktemp("lab")
    with running_lab(root) as started:
        yield started


@contextlib.contextmanager
def running_lab(root):
    """Start JupyterLab in a folder and stop it again."""
    private = root / ".private"
    settings = private / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
    }
    port, token = free_port(), uuid.uuid4().hex
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = private / "lab.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, cwd=root)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/api/status?token={token}", process, log)
        yield Lab(root=root, url=url, token=token, log=log)
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url, process, log, seconds=60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.05)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def lab_page(chromium, lab):
    """A page for JupyterLab, which is the one address it may reach."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened = watched(context.new_page())
    yield opened
    context.close()
