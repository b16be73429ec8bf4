"""The frame of the command line: lazy commands, errors as sentences, exit codes.

Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 something could not be reached.
"""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from workbench.cli import COMMANDS
from workbench.cli.output import emit, note
from workbench.errors import (
    AccessError,
    Diverged,
    ReportFailed,
    SpoolFailed,
    StackError,
    Unavailable,
    UsageError,
    WorkbenchError,
)
from workbench.masking import masked, without_secrets

_ANSWER_IS_NO = (Diverged, ReportFailed)
_NOT_REACHED = (StackError, Unavailable, AccessError, SpoolFailed)


class _Commands(TyperGroup):
    """The group whose commands are imported when they are used, not when they are listed."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        return [name for name, (target, _) in COMMANDS.items() if _exists(target.partition(":")[0])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1], rich_markup_mode=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        self.commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name), rest


@cache
def _exists(module: str) -> bool:
    return find_spec(module) is not None


def load(name: str) -> Any:
    """Import the command and build its parser."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = _application()
    alone.command(name, help=_verbatim_examples(inspect.getdoc(found) or COMMANDS[name][1]))(found)
    return get_command(alone)


def _verbatim_examples(text: str) -> str:
    """Keep the line breaks of indented blocks, which help pages would fill like prose."""
    return re.sub(r"\n\n(?= {4})", "\n\n\b\n", text)


def _application(**settings: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings
    )


def _version(*, value: bool) -> None:
    if value:
        from workbench import __version__

        typer.echo(f"workbench {__version__}")
        raise typer.Exit


app = _application(cls=_Commands, no_args_is_help=True)


_HELP = """\
Record, look, fork, replay, compare and report runs of AI agents.

Example:

    workbench import runs.json
    workbench runs --json --limit 5
    workbench COMMAND --help
"""


@app.callback(
    help=_verbatim_examples(_HELP), context_settings={"help_option_names": ["-h", "--help"]}
)
def _root(
    *,
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=lambda value: _version(value=value)
    ),
) -> None:
    """Say the version, or go on to the command."""
    del version


def run() -> None:
    """Run the command line of this process; foreign errors keep their traceback, ours do not."""
    try:
        ended = get_command(app)(prog_name="workbench", standalone_mode=False)
    except WorkbenchError as error:
        raise SystemExit(_report(error)) from None
    except TyperException as error:
        raise SystemExit(_misused(error)) from None
    except Abort:
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(ended if isinstance(ended, int) else 0)


def _misused(error: Any) -> int:
    """Say how the command is used; with ``--json`` also as the one document that scripts read."""
    error.show()
    if "--json" in sys.argv:
        wrong = UsageError(
            error.format_message(), hint=f"`{_command_of(error)} --help` shows how it is used."
        )
        emit({"error": wrong.as_problem()}, as_json=True)
    return int(error.exit_code)


def _command_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return "workbench" if context is None else str(context.command_path)


def _report(error: WorkbenchError) -> int:
    note(without_secrets(f"workbench: {error.code}: {error}"))
    if "--json" in sys.argv:
        emit({"error": masked(error.as_problem())}, as_json=True)
    return exit_code(error)


def exit_code(error: WorkbenchError) -> int:
    """Return 1, 2 or 3: the answer is no, wrong use, something could not be reached."""
    if isinstance(error, _ANSWER_IS_NO):
        return 1
    return 3 if isinstance(error, _NOT_REACHED) else 2
