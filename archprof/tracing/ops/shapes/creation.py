"""Ops that make or copy tensors."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import FLOATS, REALS, empty, like, rule, steps, strided
from archprof.tracing.ops.shapes.strides import copied, overlapping


def _on_meta(device: Any) -> bool:
    return device is not None and torch.device(device).type == "meta"


@rule("clone.default")
def _clone(x: Any, *, memory_format: Any = None) -> Any:
    if x.dtype not in REALS or 0 in x.shape:
        return None
    if memory_format is None or memory_format is torch.preserve_format:
        return strided(x.shape, copied(x.shape, x.stride()), x.dtype)
    return empty(x.shape, x.dtype) if memory_format is torch.contiguous_format else None


@rule("_to_copy.default")
def _cast(x: Any, *, dtype: Any = None, device: Any = None, non_blocking: bool = False, **others: Any) -> Any:
    if others or x.dtype not in REALS or 0 in x.shape or not (device is None or _on_meta(device)):
        return None
    return strided(x.shape, copied(x.shape, x.stride()), dtype or x.dtype)


@rule("empty_like.default", "zeros_like.default", "ones_like.default")
def _like(x: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
          memory_format: Any = None) -> Any:  # fmt: skip
    if pin_memory or layout not in (None, torch.strided) or (device is not None and not _on_meta(device)):
        return None
    if memory_format is torch.contiguous_format:
        return empty(x.shape, dtype or x.dtype)
    return like(x, dtype) if memory_format in (None, torch.preserve_format) else None


@rule("tril.default", "triu.default")
def _triangle(x: Any, diagonal: int = 0) -> Any:
    return steps(x.dtype, x) if x.dim() >= 2 and x.is_contiguous() else None


@rule("bernoulli_.float")
def _drawn(x: Any, p: float = 0.5, *, generator: Any = None) -> Any:
    return x if x.dtype in FLOATS and 0 <= p <= 1 and not overlapping(x.shape, x.stride()) else None


@rule("uniform_.default")
def _drawn_evenly(x: Any, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Any:
    return x if x.dtype in FLOATS and low <= high and not overlapping(x.shape, x.stride()) else None


@rule("normal_.default")
def _drawn_normally(x: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
    return x if x.dtype in FLOATS and std >= 0 and not overlapping(x.shape, x.stride()) else None
