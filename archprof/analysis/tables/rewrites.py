"""What a rewrite did to a model, and where it could not be applied and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from archprof.analysis.table import Column, Row, Table, Value
from archprof.analysis.tables.fold import MAX_SHOWN_ROWS
from archprof.wording import name_few

COLUMNS = (
    Column("rewrite", "Rewrite", "text", "which rewrite", 0),
    Column("path", "Layer", "path", "path of the layer in the model as it was; none: the model as a whole", 0),
    Column("what", "What", "words", "what was done there, or why it was not", 0),
    Column("applied", "Done", "text", "yes, or no", 0),
)


def tabulate_rewrites(
    model: str, applied: Iterable[tuple[str, str, str]], refused: Iterable[tuple[str, str, str]]
) -> Table:
    """One row per change or refusal (rewrite, path, what or why), changes first."""
    rows = [(*change, "yes") for change in applied] + [(*refusal, "no") for refusal in refused]
    cells = [Row((name, path or None, what, done)) for name, path, what, done in rows]
    return Table(f"Rewrites of {model}", COLUMNS, tuple(cells), folded=tuple(_fold(cells)))


def _fold(rows: list[Row]) -> list[Row]:
    """The same done at many layers in one row; none where there are few rows."""
    if len(rows) <= MAX_SHOWN_ROWS:
        return []
    groups: dict[tuple[Value, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cells[0], *row.cells[2:]), []).append(row)
    return [
        replace(own[0], cells=(own[0].cells[0], name_few([str(row.cells[1]) for row in own], 1), *own[0].cells[2:]))
        for own in groups.values()
    ]
