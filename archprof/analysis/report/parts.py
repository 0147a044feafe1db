"""The outer parts of a model: what a designer would name first, with what is in each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from archprof.analysis.counts import Counts, sum_counts
from archprof.analysis.tables.line_folding import COUNTED_SUMS
from archprof.analysis.view import ProfileView

MIN_PARTS = 3
"""With fewer parts that have MACs, the heaviest is opened."""

OWNED_SUMS = ("params", "trainable", "buffers", "param_bytes")
"""What counts at the first call of a module alone, so that its calls are equal but for that."""

WHOLE_SHARE = 0.95
"""A part with so much of the MACs and of the parameters is no part but the model itself."""


@dataclass(frozen=True, slots=True)
class OuterPart:
    """One call, with all that it calls: its row, its name in the table and its sums."""

    row: int
    name: str
    counts: Counts


def find_outer_parts(view: ProfileView) -> list[OuterPart]:
    """The calls next to the model, and in place of one that is nearly all of it what that calls."""
    children = view.tree.children
    found = [i for i, parent in enumerate(view.tree.parents) if parent is None]
    while (heavy := _find_whole(view, found)) is not None:
        at = found.index(heavy)
        found[at : at + 1] = children[heavy]
    return [OuterPart(row, _name(view, row), view.tree.totals[row]) for row in found]


def _find_whole(view: ProfileView, rows: Sequence[int]) -> int | None:
    """The part to open; `None` where the parts say something."""
    totals, whole = view.tree.totals, view.total
    heaviest = max(rows, key=lambda row: totals[row].macs, default=None)
    if heaviest is None or not view.tree.children[heaviest]:
        return None
    shares = [getattr(totals[heaviest], key) / (getattr(whole, key) or 1) for key in ("macs", "params")]
    few = sum(totals[row].macs > 0 for row in rows) < MIN_PARTS
    return heaviest if few or min(shares) >= WHOLE_SHARE else None


def _name(view: ProfileView, row: int) -> str:
    layer = view.layer(row)
    return (layer.path or "the model itself") + layer.repeat_mark


def find_equal_blocks(view: ProfileView) -> list[list[int]]:
    """Rows of siblings of one kind that cost the same and return as many tensors of the shapes that they are given."""
    groups: dict[Hashable, list[int]] = {}
    for row, parent in enumerate(view.tree.parents):
        layer, counts = view.layer(row), view.tree.totals[row]
        same = layer.outputs and layer.inputs and layer.inputs[0].shape == layer.outputs[0].shape
        if parent is not None and counts.macs and same:
            groups.setdefault((parent, *_find_equality(view, row)), []).append(row)
    return list(groups.values())


def _find_equality(view: ProfileView, row: int) -> tuple[Hashable, ...]:
    """What equal calls have in common: the module, if it is called again, and else the kind, and the costs."""
    layer, counts = view.layer(row), view.tree.totals[row]
    keys = [key for key in COUNTED_SUMS if layer.path not in view.repeated_paths or key not in OWNED_SUMS]
    again = layer.path if layer.path in view.repeated_paths else None
    return (again, layer.kind, *(getattr(counts, key) for key in keys))


def group_equal_parts(view: ProfileView, parts: Sequence[OuterPart]) -> list[list[OuterPart]]:
    """Parts of one kind that cost the same, the largest group first."""
    groups: dict[Hashable, list[OuterPart]] = {}
    for part in parts:
        groups.setdefault(_find_equality(view, part.row), []).append(part)
    return sorted(groups.values(), key=lambda group: -sum_counts(part.counts for part in group).macs)
