"""``python -m workbench_server migrate|workspace|serve|worker``."""

from __future__ import annotations

import sys

from workbench_server.command import main

sys.exit(main())
