"""Ops whose result lies in a larger storage than it fills: their kernels, on the CPU and on CUDA alike, make it as
large as an operand, and then cut its shape; torch's own answers on meta do not say so.

* losses that are reduced: the mean is the first element of where the losses of all elements stood
  (aten/native/Loss.cpp, cuda/Loss.cu); `l1_loss` and `huber_loss` make the mean anew;
* `col2im`, which is `nn.Fold` and the backward of `nn.Unfold`: an `empty_like` of the columns (cuda/Col2Im.cu), and
  `im2col`, one of the image, which is less but for strides: `pooling` has it.
"""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import FLOATS, make_cut_from, make_elementwise, overload_names, shape_rule


@shape_rule(*overload_names("mse_loss smooth_l1_loss", "default"))
def _reduce_differences(x: Any, target: Any, reduction: int = 1, beta: float = 1.0) -> Any:
    if reduction == 0 or x.dtype not in FLOATS or x.dtype is not target.dtype or beta < 0:
        return None
    losses = make_elementwise(x.dtype, x.dtype, x, target)
    return None if losses is None else losses.resize_(())


@shape_rule("binary_cross_entropy.default")
def _reduce_entropies(x: Any, target: Any, weight: Any = None, reduction: int = 1) -> Any:
    usual = x.dtype in FLOATS and x.dtype is target.dtype and x.shape == target.shape and weight is None
    return make_cut_from(x, ()) if usual and reduction != 0 else None


@shape_rule("soft_margin_loss.default")
def _reduce_margins(x: Any, target: Any, reduction: int = 1) -> Any:
    usual = x.dtype in FLOATS and x.dtype is target.dtype and x.shape == target.shape
    return make_cut_from(x, ()) if usual and reduction != 0 else None


@shape_rule("col2im.default")
def _sum_columns(x: Any, *sizes: Any) -> Any:
    return make_cut_from(x, torch.ops.aten.col2im.default(x, *sizes).shape)
