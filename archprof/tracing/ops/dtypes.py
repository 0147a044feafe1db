"""Dtypes that an op refuses on real tensors and not on meta, where torch's kernels look at shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

Tensor = torch.Tensor

HALVES = frozenset((torch.float16, torch.bfloat16))

PRODUCTS = frozenset(
    f"aten.{name}" for name in "mm addmm bmm baddbmm addbmm mv addmv dot vdot convolution addmm_ baddbmm_".split()
)
"""Ops whose tensors all have one dtype."""

NORMS = frozenset(f"aten.{name}" for name in "native_batch_norm native_layer_norm native_group_norm".split())
"""Ops whose weights may be wider than the input, if that is in half precision."""

REAL_OPS = frozenset(
    f"aten.{name}"
    for plain in (
        "relu clamp clamp_min clamp_max gelu mish hardswish hardsigmoid hardtanh leaky_relu elu celu selu softplus "
        "log_sigmoid_forward _softmax _log_softmax glu"
    ).split()
    for name in (plain, f"{plain}_")
)
"""Ops without a meaning for complex numbers."""

LOSSES = frozenset(("aten.nll_loss_forward", "aten.nll_loss2d_forward"))

ATTENTION = "aten.scaled_dot_product_attention"


DtypeCheck = Callable[[str, Sequence[Any], Mapping[str, Any]], None]
"""What `check_dtypes` does, of some ops."""


def check_dtypes(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise `RuntimeError`, as torch does on real tensors, where an op does not take the dtypes of its tensors."""
    check = CHECKS.get(name)
    if check is not None:
        check(name, args, kwargs)


def _check_equal(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    first = None
    for value in args:
        if isinstance(value, Tensor):
            first = first or value.dtype
            if value.dtype is not first:
                _refuse_mixture(name, [first, value.dtype])


def _check_norm(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    given, *others = [value.dtype for value in args if isinstance(value, Tensor)]
    if not given.is_floating_point:
        raise RuntimeError(f"{name} is not implemented for {given}")
    if not (given in HALVES and set(others) == {torch.float32}):
        _refuse_mixture(name, [given, *others])


def _check_real(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    if args[0].is_complex():
        raise RuntimeError(f"{name} is not implemented for {args[0].dtype}")


def _check_target(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    if args[1].dtype not in (torch.int64, torch.uint8):
        raise RuntimeError(f"{name} takes targets of int64 or uint8, and was given {args[1].dtype}")


def _check_attention(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    named = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | dict(kwargs)
    _refuse_mixture(name, [named[part].dtype for part in ("query", "key", "value")])
    mask = named.get("attn_mask")
    if mask is not None and mask.dtype not in (torch.bool, torch.float32, named["query"].dtype):
        raise RuntimeError(f"{name} takes masks of bool, float32 or the query's dtype, and was given {mask.dtype}")


def _refuse_mixture(name: str, dtypes: Sequence[torch.dtype]) -> None:
    if len(set(dtypes)) > 1:
        given = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise RuntimeError(f"{name} takes tensors of one dtype, and was given {given}")


CHECKS: dict[str, DtypeCheck] = {
    **dict.fromkeys(PRODUCTS, _check_equal),
    **dict.fromkeys(NORMS, _check_norm),
    **dict.fromkeys(REAL_OPS, _check_real),
    **dict.fromkeys(LOSSES, _check_target),
    ATTENTION: _check_attention,
}
