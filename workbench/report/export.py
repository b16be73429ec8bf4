"""Write an executed notebook as one HTML file that opens anywhere, offline, with its widgets."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from pathlib import Path

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_HERE = files("workbench.report")
_WIDGETS = re.compile(r"(?m)(?<![\w-])\.wb(?![\w-])(?=[^;]*\{)")
_AUTO_ONLY = '[data-theme="auto"]'
_AUTO = f":is(.wb, .wb-doc){_AUTO_ONLY}"


def write_page(executed: Path, page: Path) -> Path:
    """Write the page beside its final place first, so that a reader never meets half of it."""
    notebook = nbformat.read(executed, as_version=4)
    part = page.with_suffix(".html.part")
    part.write_text(to_html(notebook, title=page.stem), encoding="utf-8")
    part.replace(page)
    return page


def to_html(notebook: nbformat.NotebookNode, *, title: str) -> str:
    """Return the page: outputs in reading order, code folded, widget host and styles inside.

    A content security policy in the page forbids every request, so that neither a widget nor
    text from a trace can fetch anything.
    """
    exporter = _exporter()
    resources = {"workbench": _assets() | {"title": _title(notebook, title)}}
    html: str = exporter.from_notebook_node(_shown(notebook), resources=resources)[0]
    return html


def _shown(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop views whose model was not saved: their static form is shown instead."""
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view is not None and view.get("model_id") not in state:
                del output["data"][WIDGET_VIEW]
    return notebook


def _title(notebook: nbformat.NotebookNode, fallback: str) -> str:
    """Return the page's name: what a cell gave as its metadata ``title``, else the file's name."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            title = output.get("metadata", {}).get("workbench", {}).get("title")
            if title:
                return str(title)
    return fallback


@cache
def _assets() -> dict[str, str]:
    return {
        "css": _for_a_page(stylesheet()),
        "host": (_HERE / "host.js").read_text(encoding="utf-8"),
    }


@cache
def stylesheet() -> str:
    """Return the design's tokens and the report's rules, for a page or a notebook's own output."""
    tokens = (files("workbench.widgets") / "tokens.css").read_text(encoding="utf-8")
    rules = (_HERE / "report.css").read_text(encoding="utf-8")
    return "\n".join((_WIDGETS.sub(":is(.wb, .wb-doc)", tokens), rules))


def _for_a_page(css: str) -> str:
    """Let the reader's system choose the theme also where no script runs, and print on white."""
    everywhere = f"{_AUTO}, .wb-page{_AUTO_ONLY} :is(.wb, .wb-doc)"
    dark = "@media (prefers-color-scheme: dark)"
    return css.replace(_AUTO, everywhere).replace(dark, dark.replace("(", "screen and (", 1))


def _exporter() -> Any:
    from nbconvert.exporters.templateexporter import TemplateExporter

    exporter = TemplateExporter(
        template_name="workbench",
        template_file="index.html.j2",
        extra_template_basedirs=[os.fspath(str(_HERE / "template"))],
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    return exporter
