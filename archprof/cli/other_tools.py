"""`--convention`: another tool's number, behind what a command shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archprof.cli.output import TABLE_FORMATS, render_table, write_text
from archprof.errors import UsageError

if TYPE_CHECKING:
    from archprof.facts.records import Profile

OWN_CONVENTION = "archprof"


def validate_convention(name: str, form: str, *, train: bool) -> None:
    """Raise what cannot be shown by the convention `name`, before any work starts."""
    from archprof.analysis import other_tools

    other_tools.validate_tool_name(name)
    if name == OWN_CONVENTION:
        return
    if form not in TABLE_FORMATS:
        raise UsageError(f"The rule of {name} is not written as {form}.", f"Formats: {', '.join(TABLE_FORMATS)}.")
    if train:
        raise UsageError(f"{name} counts a forward in evaluation mode.", hint="Leave out --train.")


def write_by_rule(profiles: Sequence[Profile], name: str, form: str, output: Path | None, before: str = "") -> None:
    """Write what the tool called `name` would print; as text behind `before`, which the other formats leave out."""
    from archprof.analysis.other_tools import tables

    table = (
        tables.tabulate_tool(profiles[0], name)
        if len(profiles) == 1
        else tables.tabulate_tool_for_models(profiles, name)
    )
    text = render_table(table, form, output)
    write_text(f"{before}\n{text}" if form == "text" and before else text, output)
