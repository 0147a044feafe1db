"""What a tool counts, piece by piece: the record that every convention answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from archprof.analysis.other_tools.tool_view import ToolView


class WorkPart(NamedTuple):
    """One piece of work, as a tool counts it and as archprof does.

    Where a profile does not tell which of two ways the code was written in (`x + y` or `torch.add(x, y)`), `low` and
    `high` are what the tool counts for each.

    Attributes:
        what: in words; parts of one name are shown in one line.
        low, high: what the tool counts, in multiply-adds of its own rule.
        macs: what archprof counts for the same work.
    """

    what: str
    low: int
    high: int
    macs: int = 0


class CannotCount(Exception):
    """The tool raises on this model, or its rule needs what a profile does not hold; the message says why."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One tool, in its default settings.

    Attributes:
        tool, version: whose rule it is; the version whose source it was read from and whose output it was compared to.
        call: what prints the number.
        unit_word: what the tool calls it.
        per_mac: what it prints for one multiply-add.
        limits: what a profile cannot tell, and how it is taken.
        unclear: why there may be two numbers.
        rule: the rule.
    """

    tool: str
    version: str
    call: str
    unit_word: str
    rule: Callable[[ToolView], Iterable[WorkPart]]
    per_mac: int = 1
    limits: str = ""
    unclear: str = ""


class WorkLine(NamedTuple):
    """The parts of one name, of which there are `pieces`."""

    what: str
    pieces: int
    low: int
    high: int
    macs: int

    @property
    def agrees(self) -> bool:
        return self.low == self.high == self.macs


@dataclass(frozen=True, slots=True)
class ToolCount:
    """What a tool would print for a model: `low` to `high`, the same number where the profile tells it exactly.

    Attributes:
        convention: whose rule it is.
        lines: of what the total is made, in the order of the pass; all that archprof counts is part of one.
        failure: why there is no number; then there are no lines.
    """

    convention: Convention
    lines: tuple[WorkLine, ...] = ()
    failure: str | None = None

    @property
    def low(self) -> int | None:
        """The least it can print, in the tool's own unit; `None` when there is no number."""
        return None if self.failure else self.convention.per_mac * sum(line.low for line in self.lines)

    @property
    def high(self) -> int | None:
        """The most it can print, in the tool's own unit; `None` when there is no number."""
        return None if self.failure else self.convention.per_mac * sum(line.high for line in self.lines)

    @property
    def is_exact(self) -> bool:
        """One number, whichever way the code was written."""
        return self.failure is None and self.low == self.high

    def find_differences(self) -> Iterator[WorkLine]:
        """The lines in which the tool and archprof differ, or may."""
        return (line for line in self.lines if not line.agrees)


def count_by_convention(convention: Convention, view: ToolView) -> ToolCount:
    """Apply a convention to a profile."""
    sums: dict[str, list[int]] = {}
    try:
        for what, low, high, macs in convention.rule(view):
            into = sums.setdefault(what, [0, 0, 0, 0])
            for i, amount in enumerate((1, low, high, macs)):
                into[i] += amount
    except CannotCount as error:
        return ToolCount(convention, failure=str(error))
    return ToolCount(convention, tuple(WorkLine(what, *amounts) for what, amounts in sums.items()))
