"""Which parts of several models stand beside each other: rows that hold every part of every model exactly once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from archprof.analysis.tables import stages
from archprof.analysis.tables.call_tree import OWN_LABEL, CallTree
from archprof.analysis.tables.columns import Counts, sum_counts
from archprof.facts.records import Layer, Profile

T = TypeVar("T")
NamedRows = tuple[str, tuple[int, ...]]
"""The name of a stage and its rows."""

AlignedRow = tuple["int | None", ...]
"""One index a model; `None` where a model has nothing there."""

MAX_STAGE_RATIO = 2.0
"""Stages match while one has less than so many times the positions of the other: 55x55 is 56x56, but not 28x28."""

MIN_FAMILY_SHARE = 0.5
"""The share of the smaller model's layers that must be the same in the other for the two to be one family."""

ROW_COUNTS = ("params", "buffers", "macs", "flops", "activation", "unknown")
"""A container gets a row of its own when its own work has any of these."""


def align_sequences(sequences: Sequence[Sequence[T]], score: Callable[[T, T], float]) -> list[AlignedRow]:
    """One row for each group of parts that belong together; the order of every sequence is kept.

    Args:
        sequences: the parts of each model, in order.
        score: how well two parts match; 0 keeps them apart. The sum over all pairs is as large as it can be; a third
            model is matched with the rows of the first two.
    """
    rows: list[AlignedRow] = [(i,) for i in range(len(sequences[0]))]
    for count, sequence in enumerate(sequences[1:], 1):
        heads = [next(sequences[model][at] for model, at in enumerate(row) if at is not None) for row in rows]
        gap: AlignedRow = (None,) * count
        rows = [(gap if a is None else rows[a]) + (b,) for a, b in _align_pair(heads, sequence, score)]
    return rows


def _align_pair(
    left: Sequence[T], right: Sequence[T], score: Callable[[T, T], float]
) -> list[tuple[int | None, int | None]]:
    """The best alignment of two sequences; what has no partner on the left comes before what has none on the right."""
    scores = [[score(a, b) for b in right] for a in left]
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]  # best[i][j]: of left[i:] and right[j:]
    for i in reversed(range(len(left))):
        row, below, here = best[i], best[i + 1], scores[i]
        for j in reversed(range(len(right))):
            together = here[j] + below[j + 1] if here[j] else 0.0
            row[j] = max(together, below[j], row[j + 1])
    pairs: list[tuple[int | None, int | None]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if scores[i][j] and best[i][j] == scores[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return pairs + [(at, None) for at in range(i, len(left))] + [(None, at) for at in range(j, len(right))]


@dataclass(frozen=True, slots=True)
class Stage:
    """Rows that work at one spatial size, in the order in which their work ends.

    Attributes:
        name: the size, as "56x56".
        rows: indices into `Profile.layers`.
        counts: their sum.
        positions: of its maps; `None` where no size is known.
        macs_share: of the model's MACs.
    """

    name: str
    rows: tuple[int, ...]
    counts: Counts
    positions: int | None
    macs_share: float


class StagedProfile:
    """One model of a comparison, cut into rows and stages."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        forest = CallTree(profile, ROW_COUNTS)
        self.own_counts, self.rows = forest.own_counts, forest.rows()
        self.stages = self._stages()

    def layer(self, row: int) -> Layer:
        return self.profile.layers[row]

    @property
    def image_positions(self) -> int | None:
        """Positions of the image or volume that goes into the model; `None` where its first input is neither."""
        inputs = self.profile.layers[0].inputs if self.profile.layers else ()
        return math.prod(inputs[0].shape[2:]) or None if inputs and len(inputs[0].shape) > 3 else None

    def row_name(self, row: int) -> str:
        """What a reader calls a row: with the number of a later call, and marked where it is a container's own work."""
        layer, last = self.layer(row), row + 1 == len(self.profile.layers)
        inner = not last and self.profile.layers[row + 1].depth > layer.depth
        call = f" #{layer.call + 1}" if layer.call else ""
        return f"{layer.path or '(model)'}{call}{f' {OWN_LABEL}' if inner and layer.path else ''}"

    def call_key(self, row: int) -> tuple[str, int | None]:
        """What a row is called in any model of its family."""
        return self.layer(row).path, self.layer(row).call

    def _stages(self) -> list[Stage]:
        layers, macs = self.profile.layers, self.profile.totals.macs
        ends = _ends(layers)
        calls = sorted((i for i in self.rows if layers[i].call is not None), key=lambda i: (ends[i], -layers[i].depth))
        called, idle = iter(calls), tuple(i for i in self.rows if layers[i].call is None)
        runs = [
            (line.name, idle if line.name == stages.NEVER_CALLED else tuple(islice(called, line.counts.calls)))
            for line in stages.build_stage_lines(self.profile, self.own_counts, self.rows)
        ]
        counted = [(name, rows, sum_counts(self.own_counts[i] for i in rows)) for name, rows in _uncrossed(runs)]
        return [
            Stage(name, rows, counts, _positions(name), counts.macs / macs if macs else 0.0)
            for name, rows, counts in counted
        ]


def _uncrossed(runs: Sequence[NamedRows]) -> list[NamedRows]:
    """Where a block changes resolution, its branches run one after the other: 56, 28, 56, 28 is 56 and then 28."""
    kept: list[NamedRows] = []
    for name, rows in runs:
        if len(kept) > 2 and (kept[-3][0], kept[-2][0]) == (kept[-1][0], name):
            (_, early), (_, shortcut), (_, late) = kept[-3:]
            kept[-3:] = [(kept[-1][0], early + late), (name, shortcut + rows)]
        else:
            kept.append((name, rows))
    return kept


def _ends(layers: Sequence[Layer]) -> list[int]:
    """The last row inside each row: what a container does itself comes after its parts."""
    ends = list(range(len(layers)))
    for index in reversed(range(len(layers))):
        after = index + 1
        while after < len(layers) and layers[after].depth > layers[index].depth:
            ends[index] = ends[after]
            after = ends[after] + 1
    return ends


def _positions(stage: str) -> int | None:
    """How many positions a stage of this name has: 3136 for "56x56", 197 for "length 197", 1 for a vector."""
    sizes = stage.removeprefix("length ").split("x")
    if all(size.isdigit() for size in sizes):
        return math.prod(map(int, sizes))
    return 1 if stage == "vector" else None


def align_stages(sides: Sequence[StagedProfile]) -> list[AlignedRow]:
    """Stages of about the same resolution beside each other, as indices into each side's stages.

    Resolution is relative to the image that goes in, where one goes into every model.
    """
    images = [side.image_positions for side in sides]
    scales = [1 if None in images else image or 1 for image in images]
    return align_sequences(
        [[_Sized(stage, scale) for stage in side.stages] for side, scale in zip(sides, scales, strict=True)],
        _score_stages,
    )


class _Sized(NamedTuple):
    stage: Stage
    image: int


def _score_stages(left: _Sized, right: _Sized) -> float:
    """Close in resolution; among several that are, the one where both models work more."""
    a, b = left.stage, right.stage
    if a.positions is None or b.positions is None:
        return float(a.name == b.name)
    if min(a.positions, b.positions) < 2:
        ratio = 1.0 if a.positions == b.positions else MAX_STAGE_RATIO  # what has no map left is no small map
    else:
        small, large = sorted((a.positions * right.image, b.positions * left.image))
        ratio = large / small
    return 1 + MAX_STAGE_RATIO - ratio + min(a.macs_share, b.macs_share) if ratio < MAX_STAGE_RATIO else 0.0


def align_rows_in_stage(sides: Sequence[StagedProfile], stage: AlignedRow) -> list[AlignedRow]:
    """The rows of stages that stand beside each other, matched by kind, in order."""
    rows = [() if at is None else side.stages[at].rows for side, at in zip(sides, stage, strict=True)]
    return _indexed(
        rows,
        align_sequences([[side.layer(i) for i in own] for side, own in zip(sides, rows, strict=True)], _score_layers),
    )


def _score_layers(a: Layer, b: Layer) -> float:
    """Of one kind; better still where the path or the parameters are the same too."""
    return (a.kind == b.kind) * (2.0 + (a.path == b.path) + 0.5 * (a.params == b.params))


def align_by_path(sides: Sequence[StagedProfile]) -> list[AlignedRow]:
    """Calls of one path beside each other."""
    keys = [[side.call_key(i) for i in side.rows] for side in sides]
    return _indexed([side.rows for side in sides], align_sequences(keys, lambda a, b: float(a == b)))


def _indexed(rows: Sequence[Sequence[int]], merged: list[AlignedRow]) -> list[AlignedRow]:
    """Positions in `rows` turned into what stands there."""
    return [tuple(None if at is None else own[at] for own, at in zip(rows, row, strict=True)) for row in merged]


class _Trait(NamedTuple):
    kind: str
    size: tuple[int, ...]


def are_one_family(sides: Sequence[StagedProfile]) -> bool:
    """All models name their layers as the first does and use them at the same resolution, or name all of them so.

    Names alone do not make a family: every `nn.Sequential` has a layer "0".
    """
    first, *others = (
        {side.call_key(i): _Trait(side.layer(i).kind, _size(side.layer(i))) for i in side.rows} for side in sides
    )
    return all(_related(first, other) for other in others)


def _related(a: dict[tuple[str, int | None], _Trait], b: dict[tuple[str, int | None], _Trait]) -> bool:
    shared = a.keys() & b.keys()
    named = sum(a[key].kind == b[key].kind for key in shared)
    alike = sum(a[key] == b[key] for key in shared)
    return named == len(a) == len(b) or alike >= MIN_FAMILY_SHARE * max(min(len(a), len(b)), 1)


def _size(layer: Layer) -> tuple[int, ...]:
    """The output without batch and channels: a wider layer is the same layer."""
    return layer.outputs[0].shape[2:] if layer.outputs else ()
