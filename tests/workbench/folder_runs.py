"""A store whose runs are exported folders, one each, written and read by the product's own code."""

import json

import polars as pl

from workbench import hashing
from workbench import store as stores
from workbench.store import Run, export


class FolderRuns:
    read_only = False
    address = "folders"

    def __init__(self, root):
        self.root = root
        self.root.mkdir()
        self._folders = {}
        self._artifacts = {}
        self._labels = {}

    def writer(self, header):
        made = export.writer(self.root / str(len(self._folders) + 1), header)
        self._folders[made.run_id] = made.folder
        return made

    def runs(self, *, label=None, status=None):
        written = [folder for folder in self._folders.values() if folder.exists()]
        return pl.concat(
            stores.read(str(folder)).runs(label=label, status=status) for folder in written
        )

    def run(self, run_id):
        return Run(self, self.row(run_id))

    def events(self, run_id, **wanted):
        return stores.read(str(self._folders[run_id])).events(run_id, **wanted)

    def bodies(self, run_id):
        return stores.read(str(self._folders[run_id])).bodies(run_id)

    def messages(self, run_id):
        return stores.read(str(self._folders[run_id])).messages(run_id)

    def row(self, run_id):
        row = stores.read(str(self._folders[run_id])).row(run_id)
        labels = {**json.loads(row["labels"]), **self._labels.get(run_id, {})}
        return {**row, "labels": json.dumps(labels)}

    def put_artifact(self, data):
        self._artifacts[hashing.sha256_hex(data)] = data
        return hashing.sha256_hex(data)

    def get_artifact(self, sha256):
        return self._artifacts[sha256]

    def patch(self, run_id, change):
        self._labels.setdefault(run_id, {}).update(change.labels)
        return self.row(run_id)
