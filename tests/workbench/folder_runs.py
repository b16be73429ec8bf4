"""A store whose runs are exported folders, one each, written and read by the product's own code."""

import polars as pl

from workbench import store as stores
from workbench.store import export


class FolderRuns:
    read_only = False
    address = "folders"

    def __init__(self, root):
        self.root = root
        self.root.mkdir()
        self._folders = {}

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
        run = stores.read(str(self._folders[run_id])).run(run_id)
        run.store = self
        return run

    def events(self, run_id, **wanted):
        return stores.read(str(self._folders[run_id])).events(run_id, **wanted)

    def bodies(self, run_id):
        return stores.read(str(self._folders[run_id])).bodies(run_id)

    def row(self, run_id):
        return stores.read(str(self._folders[run_id])).row(run_id)
