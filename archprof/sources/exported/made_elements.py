"""How many elements, and bytes, an op of a file would make on real tensors, known before it runs.

An op that is small in the file can make a tensor that fills the memory: `expand` and then `clone`, `repeat`, `cat`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from archprof.torchside.private import OVERLOAD, DisableTorchFunction, disable_dispatch_modes
from archprof.torchside.tensors import tensors_in

MOST_ELEMENTS = 2**28
"""Of all that one op of a file makes with values."""

BOUNDED_BY_INPUTS = frozenset(
    "_unique2 allclose equal index_put index_put_ is_nonzero item _local_scalar_dense masked_scatter nms tensor_split "
    "unique_consecutive unique_dim".split()
)
"""Ops whose result depends on values, and is no larger than what goes in."""


WIDEST = 8
"""Bytes of an element where only values tell how many there are: of the places of what is not zero."""


def count_made_elements(op: Any, args: Any, kwargs: Any) -> tuple[int, int]:
    """The elements of the storages that an op makes, and their bytes.

    Raises:
        Whatever the op raises for arguments that do not fit.
    """
    name = op.name().partition(".")[0].partition("::")[2] if isinstance(op, OVERLOAD) else ""
    if name in BOUNDED_BY_INPUTS:
        return 0, 0
    if name == "where" and len(args) == 1:
        name = "nonzero"
    with outside_the_pass():
        if name in COUNTED_BY_VALUES:
            count = int(COUNTED_BY_VALUES[name](*args, **kwargs))
            return count, WIDEST * count
        made = tensors_in(op(*map(_to_meta, args), **{key: _to_meta(value) for key, value in kwargs.items()}))
    sizes = [max(one.nbytes, one.untyped_storage().nbytes()) for one in made]
    return sum(size // one.itemsize for size, one in zip(sizes, made, strict=True)), sum(sizes)


@contextmanager
def outside_the_pass() -> Iterator[None]:
    """What is asked here is none of it: no mode sees it, and autograd keeps nothing."""
    with torch.no_grad(), DisableTorchFunction(), (disable_dispatch_modes or nullcontext)():
        yield


def _to_meta(value: Any) -> Any:
    """An argument without values, in a storage as large as it was, so that what is within it stays so."""
    if isinstance(value, torch.Tensor):
        whole = torch.empty(value.untyped_storage().nbytes() // value.itemsize, dtype=value.dtype, device="meta")
        made: Any = torch.empty(0, dtype=value.dtype, device="meta")  # and no view, of which some ops want none
        return made.set_(whole.untyped_storage(), value.storage_offset(), value.shape, value.stride())
    if isinstance(value, torch.device) or value == "cpu":
        return "meta"
    return type(value)(map(_to_meta, value)) if type(value) in (list, tuple) else value


def _count_repeated(tensor: Any, repeats: Any = None, dim: int | None = None, **_: Any) -> int:
    """By sums in floats, which do not wrap around."""
    if repeats is None:
        return _sum_widely(tensor)
    if not isinstance(repeats, torch.Tensor):
        return int(tensor.numel() * repeats)
    if repeats.numel() == 1:
        return int(tensor.numel()) * _sum_widely(repeats)
    return _sum_widely(repeats) * (1 if dim is None else int(tensor.numel()) // max(tensor.shape[dim], 1))


def _sum_widely(counts: torch.Tensor) -> int:
    return int(counts.double().abs().sum().clamp(max=2.0**62))


def _count_one_hot(tensor: torch.Tensor, num_classes: int = -1) -> int:
    classes = num_classes if num_classes > 0 or not tensor.numel() else int(tensor.max()) + 1
    return tensor.numel() * max(classes, 1)


def _count_indexed(tensor: torch.Tensor, indices: Any) -> int:
    """With masks as the indices that they stand for."""
    found: list[Any] = []
    for index in indices:
        is_mask = index is not None and index.dtype in (torch.bool, torch.uint8)
        index = index.bool() if is_mask else index
        found += [index[index]] * index.dim() if is_mask else [index]
    there = [index.shape for index in found if index is not None]
    kept = [size for size, index in zip(tensor.shape, [*found, *[None] * tensor.dim()], strict=False) if index is None]
    return math.prod(_broadcast(*there)) * math.prod(kept)


def _broadcast(*shapes: Any) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def _count_selected(tensor: torch.Tensor, mask: torch.Tensor) -> int:
    return math.prod(_broadcast(tensor.shape, mask.shape))


def _count_places(tensor: torch.Tensor) -> int:
    return tensor.numel() * max(tensor.dim(), 1)


COUNTED_BY_VALUES: dict[str, Callable[..., int]] = {
    "repeat_interleave": _count_repeated,
    "one_hot": _count_one_hot,
    "index": _count_indexed,
    "masked_select": _count_selected,
    "nonzero": _count_places,
    "nonzero_numpy": _count_places,
}
"""Ops whose result is as large as values say."""
