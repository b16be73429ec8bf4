"""A stack from start to end, by a process of its own; prints what it saw as JSON."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from pathlib import Path

import workbench as wb
from workbench import local
from workbench.local.home import read_json

home = local.home_at()
above = [path for path in home.path.parents if path.exists()]
modes = [stat.S_IMODE(path.stat().st_mode) for path in above]
with wb.open(workspace="a b") as store:
    seen = {
        "rows": store.runs().height,
        "workspace": store.workspace,
        "findings": {f.name: f.ok for f in local.doctor(home)},
        "socket": f"{read_json(home.supervisor)['runtime']}/pg/.s.PGSQL.5432",
        "uid": os.getuid(),
        "database_uid": home.database.stat().st_uid,
        "interfaces": [name for _, name in socket.if_nameindex()],
    }
local.down(home)
seen["same_modes"] = modes == [stat.S_IMODE(path.stat().st_mode) for path in above]
seen["left"] = Path(seen["socket"]).parent.parent.exists()
json.dump(seen, sys.stdout)
