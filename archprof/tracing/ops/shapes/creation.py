"""Ops that make or copy tensors."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import (
    FLOATS,
    REALS,
    make_contiguous,
    make_elementwise_like,
    make_stepwise,
    make_strided,
    shape_rule,
)
from archprof.tracing.ops.shapes.strides import overlaps_itself, strides_of_copy


def _is_meta(device: Any) -> bool:
    return device is not None and torch.device(device).type == "meta"


@shape_rule("clone.default")
def _clone(x: Any, *, memory_format: Any = None) -> Any:
    if x.dtype not in REALS or 0 in x.shape or x.layout is not torch.strided:
        return None
    if memory_format is None or memory_format is torch.preserve_format:
        return make_strided(x.shape, strides_of_copy(x.shape, x.stride()), x.dtype)
    return make_contiguous(x.shape, x.dtype) if memory_format is torch.contiguous_format else None


@shape_rule("_to_copy.default")
def _cast(x: Any, *, dtype: Any = None, device: Any = None, non_blocking: bool = False, **others: Any) -> Any:
    if others or x.dtype not in REALS or 0 in x.shape or not (device is None or _is_meta(device)):
        return None
    return make_strided(x.shape, strides_of_copy(x.shape, x.stride()), dtype or x.dtype)


@shape_rule("empty_like.default", "zeros_like.default", "ones_like.default")
def _like(x: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
          memory_format: Any = None) -> Any:  # fmt: skip
    if pin_memory or layout not in (None, torch.strided) or (device is not None and not _is_meta(device)):
        return None
    if memory_format is torch.contiguous_format:
        return make_contiguous(x.shape, dtype or x.dtype)
    return make_elementwise_like(x, dtype) if memory_format in (None, torch.preserve_format) else None


@shape_rule("tril.default", "triu.default")
def _triangle(x: Any, diagonal: int = 0) -> Any:
    return make_stepwise(x.dtype, x) if x.dim() >= 2 and x.is_contiguous() else None


@shape_rule("bernoulli_.float")
def _drawn(x: Any, p: float = 0.5, *, generator: Any = None) -> Any:
    return x if x.dtype in FLOATS and 0 <= p <= 1 and not overlaps_itself(x.shape, x.stride()) else None


@shape_rule("uniform_.default")
def _drawn_evenly(x: Any, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Any:
    return x if x.dtype in FLOATS and low <= high and not overlaps_itself(x.shape, x.stride()) else None


@shape_rule("normal_.default")
def _drawn_normally(x: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
    return x if x.dtype in FLOATS and std >= 0 and not overlaps_itself(x.shape, x.stride()) else None
