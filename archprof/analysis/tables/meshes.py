"""Every mesh of so many devices as a table, the cheapest that fits first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from archprof import units
from archprof.analysis.table import Column, Row, Table

if TYPE_CHECKING:
    from archprof.sweeping.meshes import MeshFit, MeshTry

SHOWN = 20
"""Rows that a reader sees first."""

MESH_COLUMNS = (
    Column("mesh", "Mesh", "path", "ranks along each axis", 0),
    Column("fits", "Fits", "text", "whether the largest rank does, by its interval", 0),
    Column("needed", "Needed", "bytes", "memory of the largest rank, with the context", 0, "memory"),
    Column("sample", "Per sample", "seconds", "of a step, at least", 0),
    Column("step", "Step", "seconds", "at least", 2),
    Column("samples", "Samples", "whole", "of a step, on all ranks", 1),
    Column("reason", "Reason", "text", "why it is refused", 9),
)
WORDS = {"fits": "yes", "too close to say": "near", "does not fit": "no", "does not run": "no", None: "-"}


def tabulate_meshes(found: MeshFit) -> Table:
    """One row per mesh."""
    rows = tuple(_make_row(one) for one in found.tries)
    size = units.show_quantity(found.capacity, "bytes")
    title = f"{found.model} over {found.gpus} x {found.device}, {size} each"
    best = found.tries[0]
    cost = "time per sample" if found.least == "time" else "memory"
    lines = [f"Best by least {cost}: --mesh {best.mesh}." if best.word == "fits" else "No mesh surely fits."]
    refused = Counter(one.reason for one in found.tries if one.word in (None, "does not run"))
    lines += [f"{count} refused: {reason}" for reason, count in refused.items()]
    lines.append("Times are bounds: links at their datasheet's rate, and all that can overlap does.")
    lines.append("Batches are of each data-parallel rank, so that meshes differ in samples of a step.")
    more = len(rows) - SHOWN
    folded = rows[:SHOWN] if more > 0 else ()
    fold_notes = (f"{more} more: --format csv.",) if more > 0 else ()
    return Table(title, MESH_COLUMNS, rows, notes=tuple(lines), folded=folded, fold_notes=fold_notes)


def _make_row(one: MeshTry) -> Row:
    cells = (str(one.mesh), WORDS[one.word], one.needed, one.sample_seconds, one.seconds, one.samples, one.reason)
    bounds = frozenset({"needed"}) if one.needed is not None and one.seconds is None else frozenset[str]()
    return Row(cells, bounds=bounds)
