"""Layouts of tensors, one record for all that are alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from archprof.errors import ArchprofError
from archprof.facts.records import TensorSpec
from archprof.torchside.tensors import make_spec


class SharedSpec(NamedTuple):
    """What all tensors of one layout share."""

    tensor_spec: TensorSpec
    nbytes: int
    as_tuple: tuple[TensorSpec]


SpecTable = dict[tuple[Any, ...], SharedSpec]

MAX_SHARED_SPECS = 10_000
"""Layouts that are kept from pass to pass; a deep model has some hundreds."""

_table: SpecTable = {}


def share_specs() -> SpecTable:
    """The layouts known from earlier passes, by size, strides and dtype. A pass keeps the table that it began with."""
    global _table
    if len(_table) > MAX_SHARED_SPECS:
        _table = {}
    return _table


def make_shared_spec(
    tensor: torch.Tensor, size: torch.Size, strides: tuple[int, ...] | None, dtype: torch.dtype
) -> SharedSpec:
    """The layout of a tensor; `strides` is `None` where it has none.

    Raises:
        ArchprofError: the tensor is nested.
    """
    if tensor.is_nested:
        raise ArchprofError("Nested tensors are not traced: how large they are only their values tell.")
    spec = make_spec(size, dtype, None if strides is None or tensor.is_contiguous() else strides)
    return SharedSpec(spec, spec.nbytes, (spec,))
