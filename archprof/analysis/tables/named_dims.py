"""What the dimensions of a tensor are, and of what an op makes of it: samples, an axis of the map, or neither."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import NamedTuple

from archprof.facts.records import Op

Size = tuple[int, ...]
"""Spatial size: (height, width), (tokens,), or () for a vector."""

Shape = tuple[int, ...]
BATCH = -1
"""The name of a dimension of samples; an axis of the map is 0, 1, …, and `None` is anything else: channels, say."""


class Part(NamedTuple):
    """Part of a dimension, for a view may merge height and width into one: its length and its name."""

    length: int
    axis: int | None = None


Dim = tuple[Part, ...]
"""A dimension, the slowest part first."""


class Labelled(NamedTuple):
    """A tensor with its dimensions named.

    Attributes:
        size: of the map that its positions are of.
        guessed: the names come from its shape alone.
    """

    dims: tuple[Dim, ...]
    size: Size
    guessed: bool = False


def _is_map(dim: Dim) -> bool:
    """Whether positions of the map are in it."""
    return any(part.axis not in (None, BATCH) for part in dim)


Rule = Callable[[Op, Sequence[Labelled], Sequence[Shape]], "Iterator[tuple[Dim, ...] | None]"]


def follow_dims(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    """What the dimensions of each result are, of these `shapes`; `None` where the inputs of the op do not tell."""
    if not read:
        return iter([None] * len(shapes))
    return (_slide if slides(op) else RULES.get(short_name(op), _align))(op, read, shapes)


def slides(op: Op) -> bool:
    """Whether a window slides over what it reads, or it goes by what is a map as one that does."""
    return bool(op.window or SLIDING.search(short_name(op)))


def short_name(op: Op) -> str:
    """ "relu" of `aten.relu_`."""
    return op.name.rpartition(".")[2].removesuffix("_")


SLIDING = re.compile(
    "conv|pool|upsample|pixel_|reflection_pad|replication_pad|grid_sampler|col2im|roi_|(batch|group)_norm"
)


def _slide(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    """The last dimensions are the map, as many as the window has or the name says, or those behind the channels."""
    said = re.search(r"([123])d", op.name)
    source = read[0]
    for shape in shapes:
        count = len(op.window.kernel) if op.window else int(said[1]) if said else len(shape) - 2
        lead, alike = max(len(shape) - count, 0), len(source.dims) == len(shape)
        dims: list[Dim] = [(Part(n, BATCH if i == 0 else None),) for i, n in enumerate(shape[:lead])]
        if lead and alike and _length(source.dims[0]) == shape[0]:
            dims[0] = source.dims[0]
        before = source.dims[lead:] if alike and not source.guessed else ()
        pointwise = max(op.window.kernel, default=1) == 1 if op.window else "norm" in op.name
        if not (pointwise and any(map(_is_map, before)) and tuple(map(_length, before)) == shape[lead:]):
            before = _keep_axes(before, shape[lead:]) or tuple((Part(n, i),) for i, n in enumerate(shape[lead:]))
        yield (*dims, *before)


def _keep_axes(before: Sequence[Dim], shape: Shape) -> tuple[Dim, ...] | None:
    """The axes that a window slid along, in their new lengths; `None` where they are not told apart."""
    axes = [next((axis for _, axis in dim if axis not in (None, BATCH)), None) for dim in before]
    named = [axis for axis, n in zip(axes, shape, strict=False) if axis is not None or n > 1]
    if not named or None in named or len(set(named)) < len(named):
        return None
    new = zip(before, shape, axes, strict=True)
    return tuple(dim if _length(dim) == n else (Part(n, axis),) for dim, n, axis in new)


def _length(dim: Dim) -> int:
    return prod(part.length for part in dim)


def _align(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    """Element by element, or along a dimension: each dimension is that of an input, though it may be longer now."""
    known = sorted(read, key=lambda one: one.guessed)
    for shape in shapes:
        found = [[one.dims[-back] for one in known if len(one.dims) >= back] for back in range(len(shape), 0, -1)]
        if len(shape) < max(len(one.dims) for one in known):
            yield _remove(op, read[0], shape)
        else:
            yield tuple(_choose(dims, n) for dims, n in zip(found, shape, strict=True))


def _choose(dims: Sequence[Dim], length: int) -> Dim:
    """The first of so many positions, or what it has become: those that were followed stand before those guessed."""
    fits = next((dim for dim in dims if _length(dim) == length), None)
    return fits or (Part(length, next((dim[0].axis for dim in dims if dim[0].axis is not None), None)),)


def _remove(op: Op, source: Labelled, shape: Shape) -> tuple[Dim, ...] | None:
    """Without the dimensions that an argument names: of a mean, a maximum, an index."""
    rank, before = len(source.dims), [_length(dim) for dim in source.dims]
    for named in (*op.args[1:], range(rank), 0):
        dims = [named] if type(named) is int else named if isinstance(named, (tuple, range)) else ()
        gone = {dim % rank for dim in dims if type(dim) is int and -rank <= dim < rank}
        if isinstance(named, range):
            gone = {dim for dim in named if before[dim] == 1}
        left = [i for i in range(rank) if i not in gone]
        if tuple(before[i] for i in left) == shape:
            return tuple(source.dims[i] for i in left)
    return None


def _view(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    for shape in shapes:
        yield deal_parts([part for dim in read[0].dims for part in dim], shape)


def deal_parts(parts: Sequence[Part], shape: Shape) -> tuple[Dim, ...] | None:
    """The parts of all dimensions dealt out anew; `None` where one cannot be cut so, as nothing at all."""
    if 0 in shape:
        return None
    queue = list(reversed(parts))
    dims = []
    for place, wanted in enumerate(shape):
        dim = _take_ones(queue, most=wanted == 1)
        while wanted > 1:
            if not queue:
                return None
            length, axis = queue.pop()
            if wanted % length:
                if length % wanted:
                    return None
                queue.append(Part(length // wanted, axis))
                length = wanted
            beside = dim.pop().length if dim and dim[-1].axis == axis else 1
            dim.append(Part(beside * length, axis))
            wanted //= length
        if shape[place + 1 :][:1] != (1,):
            dim += _take_ones(queue)
        dims.append(tuple(dim) or (Part(1),))
    return tuple(dims)


def _take_ones(queue: list[Part], most: bool = False) -> list[Part]:
    """The parts of length 1 that come next, or one of them: a single token stays one wherever it goes."""
    taken: list[Part] = []
    while queue and queue[-1].length == 1 and not (most and taken):
        taken.append(queue.pop())
    return taken


def _permute(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    yield tuple(read[0].dims[dim] for dim in op.args[1])


def _transpose(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    dims = list(read[0].dims)
    a, b = op.args[1:3] if len(op.args) > 2 else (0, -1)
    dims[a], dims[b] = dims[b], dims[a]
    yield tuple(dims)


def _insert(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    """A new dimension: `unsqueeze` and `stack`."""
    at, shape = (op.args[1] if len(op.args) > 1 else 0) % len(shapes[0]), shapes[0]
    yield (*read[0].dims[:at], (Part(shape[at]),), *read[0].dims[at:])


def _append(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    """A new dimension behind the last: of an embedding, of the two parts of a complex number."""
    yield (*read[-1].dims, (Part(shapes[0][-1]),))


def _multiply(op: Op, read: Sequence[Labelled], shapes: Sequence[Shape]) -> Iterator[tuple[Dim, ...] | None]:
    """Rows of the one, columns of the other; positions of the columns are channels where the rows have positions."""
    if len(read) < 2:
        yield None
        return
    a, b = read[-2:]
    rows, columns = a.dims[-2], b.dims[-1]
    lead = next((one.dims[:-2] for one in (a, b) if any(map(_is_map, one.dims[:-2]))), a.dims[:-2])
    if a.guessed and not b.guessed and _is_map(columns):
        rows = (Part(_length(rows)),)
    elif _is_map(rows) or any(map(_is_map, lead)):
        columns = (Part(_length(columns)),)
    yield (*lead, rows, columns)


PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _view),
    **dict.fromkeys(PRODUCTS, _multiply),
    **dict.fromkeys(("transpose", "t"), _transpose),
    **dict.fromkeys(("unsqueeze", "stack"), _insert),
    **dict.fromkeys(("embedding", "view_as_real"), _append),
    "permute": _permute,
}
