"""What an import read, stored and left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.errors import FormatError, WorkbenchError

if TYPE_CHECKING:
    from workbench.formats import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file or record that could not be read or stored, and why."""

    file: str
    line: int | None
    reason: str


@dataclass(slots=True, kw_only=True)
class Summary:
    """Counts over everything that was read, whether it was new or not.

    Attributes
    ----------
    runs
        Records read.
    stored
        Runs that were not there before; `changed` of them replace an older run of that source.
    messages, tool_calls, tool_errors
        Counted in the source; ``tool_errors`` is null where the source has no error flag.
    unknown_cost_runs
        Runs with any unknown part of their cost.
    skipped
        What was left out.
    """

    runs: int = 0
    stored: int = 0
    messages: int = 0
    tool_calls: int = 0
    tool_errors: int | None = 0
    unknown_cost_runs: int = 0
    changed: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def count(self, counts: Counts) -> None:
        """Add one run that was read."""
        self.runs += 1
        self.messages += counts.messages
        self.tool_calls += counts.tool_calls
        self.unknown_cost_runs += counts.cost_unknown
        if counts.tool_errors is None:
            self.tool_errors = None
        elif self.tool_errors is not None:
            self.tool_errors += counts.tool_errors

    def skip(self, file: str, error: WorkbenchError | OSError, *, line: int | None = None) -> None:
        """Note what could not be used."""
        said = error.facts.get("line", line) if isinstance(error, FormatError) else line
        self.skipped.append(Skipped(file=file, line=said, reason=reason(error)))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and what was skipped, ready for JSON."""
        names = ("runs", "stored", "messages", "tool_calls", "tool_errors")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        skipped = [{"file": s.file, "line": s.line, "reason": s.reason} for s in self.skipped]
        return found | {
            "unknown_cost_runs": self.unknown_cost_runs,
            "changed": self.changed,
            "skipped": skipped,
        }


def reason(error: WorkbenchError | OSError) -> str:
    """Return one line: the error's code, what happened, what was expected and found."""
    if isinstance(error, OSError):
        return f"the file cannot be read: {error.strerror or error}"
    text = f"{error.code}: {error.what}"
    if error.expected is not None:
        text += f", expected {error.expected}"
    if error.found is not None:
        text += f", found {error.found}"
    return " ".join(text.split())
