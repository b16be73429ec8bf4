"""What a report notebook can be asked: its parameters cell, read without running it."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import nbformat

from workbench.errors import MalformedFile, UnknownFormat, UnknownParameter, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CASTS = {"str": str, "int": int, "float": float}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One line of the parameters cell: ``name: annotation = default  # help``."""

    name: str
    annotation: str
    default: Any
    help: str


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook in the current format.

    Raises
    ------
    UsageError
        There is no such file.
    UnknownFormat
        The file is no notebook.
    """
    if not path.is_file():
        raise UsageError("there is no such notebook", where=str(path))
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise UnknownFormat("the file is not a notebook", where=str(path)) from error
    return notebook


def declared(notebook: nbformat.NotebookNode, *, where: str) -> dict[str, Parameter]:
    """Return the parameters of the cell tagged ``parameters``, in order; none without that cell.

    Raises
    ------
    MalformedFile
        The parameters cell is not Python.
    """
    cell = next((c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), None)
    if cell is None:
        return {}
    try:
        lines = ast.parse(cell.source).body
    except SyntaxError as error:
        raise MalformedFile("the parameters cell is not Python", where=where) from error
    comments = _comments(cell.source)
    found = [_parameter(line, comments) for line in lines]
    return {parameter.name: parameter for parameter in found if parameter is not None}


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _parameter(line: ast.stmt, comments: dict[int, str]) -> Parameter | None:
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as v):
            typed = ast.unparse(annotation)
        case ast.Assign(targets=[ast.Name(id=name)], value=v):
            typed = ""
        case _:
            return None
    return Parameter(
        name=name, annotation=typed, default=_literal(v), help=comments.get(line.lineno, "")
    )


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)


def checked(
    known: Mapping[str, Parameter], given: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """Return the given values in the types the notebook asks for.

    Raises
    ------
    UnknownParameter
        The notebook has no parameter of such a name; the nearest is named.
    UsageError
        A value cannot be read as the parameter's type.
    """
    for name in given:
        if name not in known:
            raise _unknown(name, known, where)
    return {name: cast(known[name], value, where=where) for name, value in given.items()}


def _unknown(name: str, known: Mapping[str, Parameter], where: str) -> UnknownParameter:
    near = get_close_matches(name, list(known), n=1, cutoff=0.0)
    hint = f"Did you mean {near[0]}? It has: {', '.join(known)}." if near else "It has none."
    return UnknownParameter(
        f"the report has no parameter {name!r}", where=where, hint=hint, nearest=near
    )


def cast(parameter: Parameter, value: Any, *, where: str) -> Any:
    """Return a value given as text in the parameter's own type."""
    kinds = [kind.strip() for kind in parameter.annotation.split("|") if kind.strip()]
    if not kinds or not isinstance(value, str):
        return value
    if "None" in kinds and value.lower() in {"", "none", "null"}:
        return None
    for kind in kinds:
        try:
            return _TRUTH[value.lower()] if kind == "bool" else _CASTS[kind](value)
        except (KeyError, ValueError):
            continue
    raise UsageError(
        f"the parameter {parameter.name} cannot be read",
        where=where,
        expected=parameter.annotation,
        found=repr(value),
    )


def help_page(known: Mapping[str, Parameter], *, name: str) -> str:
    """Return one line for each parameter: name, type, default and its comment."""
    if not known:
        return f"{name} has no parameters."
    heads = {p.name: f"{p.name}: {p.annotation or 'any'} = {p.default!r}" for p in known.values()}
    width = max(map(len, heads.values()))
    lines = [f"  -p {heads[p.name]:<{width}}  {p.help}".rstrip() for p in known.values()]
    return "\n".join([f"Parameters of {name}:", *lines])
