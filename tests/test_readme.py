"""The README's commands and code, run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = str(Path(sys.executable).parent)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands(program):
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.split(" ")[0] == program]


@pytest.fixture
def environment(server, tmp_path):
    return os.environ | {
        "WORKBENCH_URL": server.url,
        "WORKBENCH_API_KEY": server.api_key,
        "WORKBENCH_HOME": str(tmp_path / "home"),
        "PATH": f"{PYTHON}{os.pathsep}{os.environ['PATH']}",
    }


def run(words, environment):
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def with_run(word, runs):
    return re.sub(r"RUN_\w", runs.pop(0), word) if "RUN_" in word else word


def test_every_make_target_named_exists():
    assert commands("make") == ["make demo", "make lab", "make stop"]
    targets = set(re.findall(r"`?make (\w[\w-]*)", README))
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_the_code_runs(environment):
    (code, *others) = blocks("python")
    for other in others:  # they speak of an agent and a store of the reader's own
        compile(other, "README", "exec")
    assert run([sys.executable, "-c", code], environment).splitlines()[-1].startswith("True []")


def test_the_commands_run(environment, tmp_path):
    lines = commands("workbench")
    said = ["import", "runs", "diff", "export", "report", "export", "verify", "replay"]
    assert [line.split()[1] for line in lines] == said
    runs = []
    for line in lines:
        words = [re.sub(r"^out\b", str(tmp_path), word) for word in shlex.split(line)]
        words = [with_run(word, runs) for word in words]
        printed = run(words, environment)
        if words[1] == "runs":
            runs = re.findall(r"^([0-9a-f-]{36}) ", printed, re.MULTILINE)


def test_every_picture_and_link_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
