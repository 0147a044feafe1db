"""What a rewrite did to a model, and where it could not be applied and why."""

from __future__ import annotations

from collections.abc import Iterable

from archprof.analysis.table import Column, Row, Table

COLUMNS = (
    Column("rewrite", "Rewrite", "text", "which rewrite", 0),
    Column("path", "Layer", "path", "path of the layer in the model as it was; none: the model as a whole", 0),
    Column("what", "What", "text", "what was done there, or why it was not", 0),
    Column("applied", "Done", "text", "yes, or no", 0),
)


def tabulate_rewrites(
    model: str, applied: Iterable[tuple[str, str, str]], refused: Iterable[tuple[str, str, str]]
) -> Table:
    """One row per change or refusal (rewrite, path, what or why), changes first."""
    rows = [(*change, "yes") for change in applied] + [(*refusal, "no") for refusal in refused]
    cells = [(name, path or None, what, done) for name, path, what, done in rows]
    return Table(f"Rewrites of {model}", COLUMNS, tuple(Row(row) for row in cells))
