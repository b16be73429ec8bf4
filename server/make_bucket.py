"""Make the bucket of WORKBENCH_STORAGE_URL, once the object store answers."""  # noqa: INP001 - a script of the image

from __future__ import annotations

import os
import sys
import time

import fsspec

_PATIENCE_S = 60.0
_PAUSE_S = 1.0


def main() -> int:
    """Try until the bucket is there or the time is over."""
    url = os.environ["WORKBENCH_STORAGE_URL"]
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            make(url)
        except OSError as error:
            if time.monotonic() > deadline:
                print(f"the object store does not answer: {error}", file=sys.stderr)  # noqa: T201
                return 3
            time.sleep(_PAUSE_S)
        else:
            return 0


def make(url: str) -> None:
    """Make the bucket where it is missing."""
    files, path = fsspec.url_to_fs(url, use_listings_cache=False)
    bucket = path.split("/", 1)[0] if "s3" in files.protocol else path
    if not files.exists(bucket):
        files.makedirs(bucket, exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
