"""Which parts of several models stand beside each other: rows that hold every part of every model exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof.analysis.compare.sequences import AlignedRow, align_sequences
from archprof.analysis.tables.stages import Stage
from archprof.analysis.view import ProfileView
from archprof.facts.records import Layer

MAX_STAGE_RATIO = 2.0
"""Stages match while one has less than so many times the positions of the other: 55x55 is 56x56, but not 28x28."""

MIN_FAMILY_SHARE = 0.5
"""The share of the smaller model's layers that must be the same in the other for the two to be one family."""


def align_stages(views: Sequence[ProfileView]) -> list[AlignedRow]:
    """Stages of about the same resolution beside each other, as indices into each side's stages.

    Resolution is relative to the image that goes in, where one goes into every model.
    """
    images = [view.image_positions for view in views]
    scales = [1 if None in images else image or 1 for image in images]
    return align_sequences(
        [[_Sized(stage, scale) for stage in view.stages] for view, scale in zip(views, scales, strict=True)],
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
    elif a.axes != b.axes:
        return 0.0  # tokens are no pixels, though a map may have as many
    else:
        small, large = sorted((a.positions * right.image, b.positions * left.image))
        ratio = large / small
    return 1 + MAX_STAGE_RATIO - ratio + min(a.macs_share, b.macs_share) if ratio < MAX_STAGE_RATIO else 0.0


def align_rows_in_stage(views: Sequence[ProfileView], stage: AlignedRow) -> list[AlignedRow]:
    """The rows of stages that stand beside each other, matched by kind, in order."""
    rows = [() if at is None else view.stages[at].rows for view, at in zip(views, stage, strict=True)]
    layers = [[view.layer(i) for i in own] for view, own in zip(views, rows, strict=True)]
    return _indexed(rows, align_sequences(layers, _score_layers, lambda layer: (layer.kind, layer.path, layer.params)))


def _score_layers(a: Layer, b: Layer) -> float:
    """Of one kind; better still where the path or the parameters are the same too."""
    return (a.kind == b.kind) * (2.0 + (a.path == b.path) + 0.5 * (a.params == b.params))


def align_by_path(views: Sequence[ProfileView]) -> list[AlignedRow]:
    """Calls of one path beside each other."""
    keys = [[view.call_key(i) for i in view.rows] for view in views]
    return _indexed([view.rows for view in views], align_sequences(keys, lambda a, b: float(a == b), lambda key: key))


def _indexed(rows: Sequence[Sequence[int]], merged: list[AlignedRow]) -> list[AlignedRow]:
    """Positions in `rows` turned into what stands there."""
    return [tuple(None if at is None else own[at] for own, at in zip(rows, row, strict=True)) for row in merged]


class _Trait(NamedTuple):
    kind: str
    size: tuple[int, ...]


def are_one_family(views: Sequence[ProfileView]) -> bool:
    """All models name their layers as the first does and use them at the same resolution, or name all of them so.

    Names alone do not make a family: every `nn.Sequential` has a layer "0".
    """
    first, *others = (
        {view.call_key(i): _Trait(view.layer(i).kind, _size(view.layer(i))) for i in view.rows} for view in views
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
