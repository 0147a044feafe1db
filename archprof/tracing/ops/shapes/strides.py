"""How torch lays out the result of an elementwise op: pure functions of shapes and strides.

The result's dimensions are sorted by the strides of the operands, and its strides are those of a
contiguous tensor with its dimensions in that order. Answers are kept: a model asks for the same few
layouts thousands of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

Layout = tuple[Sequence[int], Sequence[int]]
"""Shape and strides of a tensor."""


def contiguous_strides(shape: Sequence[int], order: Sequence[int] | None = None) -> tuple[int, ...]:
    """The strides of a gapless tensor whose dimensions lie in memory in `order`, outermost first."""
    strides = [1] * len(shape)
    step = 1
    for dim in reversed(range(len(shape)) if order is None else order):
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


@lru_cache(maxsize=8192)
def has_plain_strides(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the strides are contiguous to the last one, those of dimensions of size 1 included."""
    return 0 not in shape and tuple(strides) == contiguous_strides(shape)


@lru_cache(maxsize=8192)
def find_elementwise_layout(*operands: Layout) -> Layout | None:
    """The layout of an elementwise result.

    `None`: the shapes do not broadcast, there are no elements, or the layout is one that a second op would
    change again (dimensions of size 1 with odd strides), so that it matters in how many steps torch computes.

    Source: `compute_elementwise_output_logical_to_physical_perm` in torch/_prims_common/__init__.py.
    """
    shape = broadcast_shapes(*[operand[0] for operand in operands])
    if shape is None or 0 in shape:
        return None
    spread = [_expand_strides(operand, shape) for operand in operands]
    gapless = all(_is_gapless(shape, strides, range(len(shape))) for strides in spread)
    channels_last = len(shape) == 4 and all(_is_gapless(shape, strides, (0, 2, 3, 1)) for strides in spread)
    if gapless and not channels_last:
        return shape, contiguous_strides(shape)
    if channels_last and not gapless:
        return shape, contiguous_strides(shape, (0, 2, 3, 1))
    strides = contiguous_strides(shape, _sort_dimensions(shape, spread))
    return (shape, strides) if strides == contiguous_strides(shape, _sort_dimensions(shape, [strides])) else None


@lru_cache(maxsize=8192)
def strides_of_copy(shape: Sequence[int], strides: Sequence[int]) -> Sequence[int]:
    """The strides of a copy in another dtype: unchanged where the tensor has no gaps and no repeats."""
    return strides if is_dense(shape, strides) else contiguous_strides(shape, _sort_dimensions(shape, [strides]))


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether every element of the storage is one element of the tensor; dimensions of size 1 do not matter."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return expected > 0


@lru_cache(maxsize=8192)
def lies_channels_last(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether images or volumes have their channels innermost, as `suggest_memory_format` in c10 reads strides."""
    if len(shape) not in (4, 5) or strides[1] == 0:
        return False
    least = 0
    for dim in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[dim] == 0 or strides[dim] < least or (dim == 0 and least == strides[1]):
            return False
        least = strides[dim] * max(shape[dim], 1)
    return True


def per_dimension(values: Sequence[int], dims: int) -> Sequence[int]:
    """One number per spatial dimension, where an op may be given one for all."""
    return values if len(values) == dims else list(values) * dims


def overlaps_itself(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether an expanded dimension makes several elements share one place."""
    return any(stride == 0 and size > 1 for stride, size in zip(strides, shape, strict=True))


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that all broadcast to, or `None`."""
    longest = max(shapes, key=len)
    result = list(longest)
    for shape in shapes:
        for back in range(1, len(shape) + 1):
            if result[-back] == 1:
                result[-back] = shape[-back]
            elif shape[-back] not in (1, result[-back]):
                return None
    return tuple(result)


def _expand_strides(operand: Layout, shape: Sequence[int]) -> Sequence[int]:
    """The operand's strides after `expand(shape)`: 0 where it is repeated."""
    own, strides = operand
    if tuple(own) == shape:
        return strides
    result = [0] * len(shape)
    for back in range(1, len(shape) + 1):
        size, target = (own[-back] if back <= len(own) else 1), shape[-back]
        if size == target:
            new = back > len(own)
            result[-back] = strides[-back] if not new else (shape[-back + 1] * result[-back + 1] if back > 1 else 1)
    return result


def _is_gapless(shape: Sequence[int], strides: Sequence[int], order: Sequence[int]) -> bool:
    """Whether the strides are gapless in that order, but for dimensions of size 1."""
    expected = 1
    for dim in reversed(order):
        if shape[dim] != 1:
            if strides[dim] != expected:
                return False
            expected *= shape[dim]
    return True


def _sort_dimensions(shape: Sequence[int], operands: Sequence[Sequence[int]]) -> list[int]:
    """Dimensions from the outermost to the innermost: an insertion sort, since not every pair can be compared."""
    order = list(reversed(range(len(shape))))
    for start in range(1, len(order)):
        place = start
        for before in reversed(range(start)):
            verdict = _compare_dimensions(order[before], order[place], shape, operands)
            if verdict > 0:
                order[before], order[place] = order[place], order[before]
                place = before
            elif verdict < 0:
                break
    return order[::-1]


def _compare_dimensions(inner: int, outer: int, shape: Sequence[int], operands: Sequence[Sequence[int]]) -> int:
    """-1 where `inner` does lie further in than `outer`, 1 where it lies further out, 0 where nothing tells."""
    for strides in operands:
        if strides[inner] == 0 or strides[outer] == 0:
            continue
        if strides[inner] != strides[outer]:
            return -1 if strides[inner] < strides[outer] else 1
        if shape[inner] > shape[outer]:
            return 1
    return 0


@lru_cache(maxsize=8192)
def find_stable_layout(*operands: Layout) -> Layout | None:
    """The joint layout where every operand's own layout stays as it is from step to step, else `None`."""
    shape = broadcast_shapes(*[operand[0] for operand in operands])
    if shape is None or 0 in shape:
        return None
    if all(has_plain_strides(own, strides) for own, strides in operands):
        return shape, contiguous_strides(shape)
    (own, strides), *others = operands
    same = all(other == operands[0] for other in others)
    return (own, strides) if same and 1 not in own and is_dense(own, strides) else None
