"""What `archprof.sweep` and the command make of a sweep: its rows, as a table and as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archprof.analysis.table import Table
from archprof.analysis.tables.swept import tabulate_swept
from archprof.facts.swept import SweptRow


@dataclass(frozen=True)
class SweepAnswer:
    """The answer.

    Attributes:
        rows: of the cells that were asked for, in that order, as far as they are done.
        notes: how many there are, and what became of them.
        interrupted: the user stopped it.
    """

    rows: Sequence[SweptRow]
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    def table(self) -> Table:
        return tabulate_swept(self.rows, notes=self.notes)

    def to_frame(self) -> Any:
        """A pandas DataFrame with the columns of the files; `attrs["notes"]` has the notes."""
        from archprof.analysis.frame import make_frame

        records = [row.to_record() for row in self.rows]
        frame = make_frame(records, list(records[0]) if records else [])
        frame.attrs["notes"] = list(self.notes)
        return frame
