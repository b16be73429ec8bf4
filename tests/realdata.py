"""Where recorded data of others lies, for the tests that read it in place."""

import json
import os
from pathlib import Path

import pytest

from workbench import formats

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("WORKBENCH_REALDATA") or ROOT / "../shared/realdata").resolve()

needs_realdata = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no recorded data of others; set WORKBENCH_REALDATA"
)


def expected(name: str):
    """Read one of the files with figures computed by other programs."""
    text = (FOLDER / "expected" / name).read_text()
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines() if line]
    return json.loads(text)


class Recorded:
    """An imported run without a store: what a diff needs of it."""

    def __init__(self, run, *, run_id: str):
        self.run_id = run_id
        self.name, self.source, self.labels = run.header.name, run_id, run.header.labels
        self.run = run

    def event_log(self):
        return self.run.events

    def bodies(self):
        return self.run.bodies


def traces(format_name: str, path: Path) -> list:
    """Read every record of a file."""
    context, pieces = formats.records(format_name, path.read_bytes(), where=path.name)
    return [
        formats.trace(format_name, piece, context=context, path=path, where=path.name)
        for piece in pieces
    ]


def recorded(format_name: str, path: Path) -> dict[str, Recorded]:
    """Import every record of a file, by its key."""
    return {
        trace.key: Recorded(formats.imported(trace), run_id=trace.key)
        for trace in traces(format_name, path)
    }


def everything():
    """Yield (format, file, record's key, imported run) of every run that is recorded here."""
    files = [
        *(("agentdojo", path) for path in sorted((FOLDER / "agentdojo/runs").rglob("*.json"))),
        ("tau-bench", FOLDER / "tau-bench/gpt-4o-airline.json"),
        *(("tau2", path) for path in sorted((FOLDER / "tau2").glob("*.json"))),
    ]
    for name, path in files:
        for trace in traces(name, path):
            yield name, path, trace.key, formats.imported(trace)
