"""The spatial size of what each op makes: of how large a map, or of how many tokens, its output is.

A shape alone does not tell: windows of attention lie in the batch, tokens are rows of a matrix, and channels come
first or last. So the dimensions of every tensor carry names that go from op to op: the batch, an axis of the map, or
neither. A sliding window says which dimensions are the map; where nothing does, the shape is read as people write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from archprof.analysis.contradictions import refuse_contradictions
from archprof.analysis.tables.named_dims import (
    BATCH,
    PRODUCTS,
    Dim,
    Labelled,
    Part,
    Shape,
    Size,
    follow_dims,
    short_name,
    slides,
)
from archprof.facts.records import Profile


@refuse_contradictions
def measure_maps(profile: Profile, dependent: Sequence[bool]) -> list[Size | None]:
    """The size of the map of which each op's first output is; `None` where it makes none.

    Args:
        dependent: for each op whether it works on what went into the model. What is made of a table of weights has no
            samples, and is read by its shape.
    """
    known: dict[int, Labelled] = {}
    tensors, sizes = profile.tensors, list[Size | None]()
    for op, follows in zip(profile.ops, dependent, strict=True):
        read = [known[i] if i in known else guess_labels(*tensors[i].spec[:2]) for i in op.inputs]
        shapes = [tensors[i].spec.shape for i in op.outputs]
        sure = follows and (slides(op) or short_name(op) in PRODUCTS)
        made = [
            _finish(dims, shape, read, sure) for dims, shape in zip(follow_dims(op, read, shapes), shapes, strict=True)
        ]
        if follows or any(is_spatial(one.size) for one in read):
            known.update((i, one) for i, one in zip(op.outputs, made, strict=True) if i not in op.inputs)
        sizes.append(known.get(op.outputs[0], made[0]).size if made else None)
    return sizes


def guess_size(shape: Shape, current: Size | None = None, lengthwise: bool = False) -> Size:
    """The spatial size of an output of this shape, where the work before it has `current`.

    Channels may come first or last, and the shape alone does not tell: the reading that stays at `current` wins;
    else (batch, channels, length) after a 1-d convolution, (batch, tokens, channels) otherwise; and with more
    dimensions channels come first, but for square maps with channels last, as (1, 28, 28, 384).
    """
    if len(shape) < 3:
        return ()
    first, last = shape[2:], shape[1:-1]
    if current in (first, last):
        return current or ()
    if len(shape) == 3:
        return first if lengthwise else last
    return last if len(set(last)) == 1 < len(set(first)) else first


@lru_cache(maxsize=4096)
def guess_labels(shape: Shape, dtype: str) -> Labelled:
    """A tensor that no op of the pass made from another: (batch, …), and two dimensions of whole numbers are tokens."""
    size = shape[1:] if len(shape) == 2 and "int" in dtype else guess_size(shape)
    start = 1 if size == shape[1 : 1 + len(size)] else 2
    names = [BATCH, *(None if i < start or i >= start + len(size) else i - start for i in range(1, len(shape)))]
    return Labelled(tuple((Part(n, axis),) for n, axis in zip(shape, names, strict=False)), size, guessed=True)


def _finish(dims: tuple[Dim, ...] | None, shape: Shape, read: Sequence[Labelled], sure: bool) -> Labelled:
    """The tensor with its size: that of the named axes; else none for one row per sample; else what was read."""
    dims = dims or tuple((Part(n),) for n in shape)
    size = _size_of_axes(dims)
    if size is None and sum(_extent(dim) > 1 for dim in dims) < 2:
        size = ()
    followed = sorted((one.size for one in read if not one.guessed), key=lambda one: not is_spatial(one))
    if size is None and followed:
        size = followed[0]
    return Labelled(dims, guess_size(shape) if size is None else size, not sure and all(one.guessed for one in read))


def is_spatial(size: Size | None) -> bool:
    """It has more than one position."""
    return size is not None and any(extent > 1 for extent in size)


def _size_of_axes(dims: tuple[Dim, ...]) -> Size | None:
    """Lengths by axis. Positions that were put beside each other as channels are positions no more."""
    lengths: dict[int, int] = {}
    for place, dim in enumerate(dims):
        if not place or not any(part.axis is None and part.length > 1 for part in dim):
            for length, axis in dim:
                if axis is not None and axis != BATCH:
                    lengths[axis] = lengths.get(axis, 1) * length
    return tuple(lengths[axis] for axis in sorted(lengths)) if lengths else None


def _extent(dim: Dim) -> int:
    """Its length without the samples in it."""
    return prod(part.length for part in dim if part.axis != BATCH)
