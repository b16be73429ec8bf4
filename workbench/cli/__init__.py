"""The ``workbench`` command.

Each command is one line of `COMMANDS`: its name, the function (or ``typer.Typer`` for a command
with sub-commands) that runs it, and the line ``workbench --help`` shows. The module is loaded only
when its command is used; a command whose module is not there is not listed.
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("workbench.cli.stack:up", "Start the local stack and leave it running."),
    "down": ("workbench.cli.stack:down", "Stop the local stack."),
    "doctor": ("workbench.cli.stack:doctor", "Say what can be reached, what cannot, and why."),
    "migrate": ("workbench.cli.stack:migrate", "Bring a database to this version's schema."),
    "worker": ("workbench.cli.stack:worker", "Run one more worker for the jobs of a database."),
    "import": ("workbench.cli.importing:import_", "Store runs that other tools recorded."),
    "export": ("workbench.cli.exporting:export", "Write runs to a folder, or one as a bundle."),
    "runs": ("workbench.cli.runs:runs", "List runs."),
    "show": ("workbench.cli.runs:show", "Show one run."),
    "follow": ("workbench.cli.following:follow", "Print a run's events as they come."),
    "sessions": ("workbench.cli.sessions:sessions", "List sessions and what their runs come to."),
    "cancel": ("workbench.cli.cancelling:cancel", "Cancel a run that goes on."),
    "label": ("workbench.cli.runs:label", "Label or rename a run."),
    "replay": ("workbench.cli.replaying:replay", "Run an agent again on its recording."),
    "verify": ("workbench.cli.verifying:verify", "Check that a recording is what it was."),
    "fork": ("workbench.cli.replaying:fork", "Change one outcome of a run and run the rest."),
    "diff": ("workbench.cli.diffing:diff", "Compare two runs."),
    "keys": ("workbench.cli.keys:app", "List, make, rotate and revoke API keys."),
    "limits": ("workbench.cli.limits:limits", "Show or set what a workspace may ask for."),
    "usage": ("workbench.cli.usage:usage", "Show what a workspace took, by day."),
    "spool": ("workbench.cli.spool:app", "Show or send what recordings left on this machine."),
    "report": ("workbench.cli.reporting:report", "Execute a report and write it as one page."),
}


def main() -> None:
    """Run the ``workbench`` command of this process and exit."""
    from workbench.cli.shell import run

    run()
