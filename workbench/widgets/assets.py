"""The browser's half of a widget as one module and one style sheet.

A widget's module is loaded from a Blob and cannot import its neighbours, so they are pasted in.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)


def script(name: str) -> str:
    """Return a module with its imports pasted in, each once, without comments and indentation."""
    pasted: dict[str, str] = {}

    def paste(file: str) -> None:
        text = (HERE / file).read_text(encoding="utf-8")
        for needed in IMPORT.findall(text):
            if needed not in pasted:
                paste(needed)
        pasted[file] = IMPORT.sub("", text)

    paste(name)
    *parts, main = pasted.values()
    whole = "".join(re.sub(r"^export (?!default)", "", part, flags=re.MULTILINE) for part in parts)
    lines = (line.strip() for line in (whole + main).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def style(*names: str) -> str:
    """Return style sheets as one, without comments."""
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
    return re.sub(r"/\*.*?\*/|^\s+", "", text, flags=re.DOTALL | re.MULTILINE)
