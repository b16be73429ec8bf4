"""Take keys and passwords out of a text that goes to a log or into an answer."""

from __future__ import annotations

import json
import re
from typing import Any

_SECRETS = re.compile(
    r"(?P<bearer>(?i:bearer)\s+)[^\s\"',\\]+"
    r"|(?P<url>://[^\s:/@\"\\]*:)[^\s@\"\\]+(?=@)"
    r"|(?P<conninfo>(?i:password)\s*=\s*)(?:'[^'\"\\]*'|[^\s'\"\\]+)"
    # Our own keys; what stands before the secret is public.
    r"|(?P<key>\bwbk_[a-z0-9]{12}_)\w+"
    r"|(?P<old>\bwb_)[\w-]{20,}"
)


def without_secrets(text: str) -> str:
    """Return the text with ``***`` for each secret; JSON stays JSON."""
    return _SECRETS.sub(lambda found: f"{found[found.lastgroup or 0]}***", text)


def masked(document: Any) -> Any:
    """Return a JSON document without the secrets in its texts."""
    return json.loads(without_secrets(json.dumps(document, default=str)))
