"""A store on the local stack."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from workbench.store import RemoteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.local.client import Lease


class LocalStore(RemoteStore):
    """A store that keeps the local stack up while it is open."""

    def __init__(self, lease: Lease, api_key: str) -> None:
        super().__init__(lease.url, api_key, local_socket=lease.status["socket"])
        self.identify()
        # Also when the store is dropped without a word, as notebooks do.
        self._release = weakref.finalize(self, _release, self._wire.close, lease.close)

    def close(self) -> None:
        """Close the connections and let the stack go."""
        self._release()


def _release(*closers: Callable[[], None]) -> None:
    for close in closers:
        close()
