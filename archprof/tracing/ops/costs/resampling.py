"""Interpolation and sampling at computed places.

Linear interpolation in d dimensions: 2^d multiplies and 2^d - 1 adds per output element, so 3, 7, 15; bicubic: 16 and
15, so 31; nearest: none. The weights, shared by all channels, are not counted. Backward: as the forward, and for
nearest one add per element of the incoming gradient. Filters that widen with the scale (`antialias=True`) run along the
width, then along the height: 2 t - 1 FLOPs for an element made of t; their backward is unknown.
Sampling on a grid adds 2 FLOPs per coordinate to bring it to pixels; its backward costs twice its forward. An affine
grid is a matrix product: MACs = its elements × the length of a homogeneous coordinate.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.pointwise import per_element_rule
from archprof.tracing.ops.costs.registry import OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor

BICUBIC_FLOPS = 31
GRID_SAMPLE_MODES = ("linear", "nearest", "bicubic")
"""Of `grid_sampler`, by the number it is given."""


def interpolation_flops(dims: int) -> int:
    """FLOPs of one linear interpolation between the 2^dims corners round a point."""
    return (2 << dims) - 1


def _per_gradient_rule(flops: int) -> Any:
    def count(result: Tensor, /, gradient: Tensor, *_: Any, **__: Any) -> OpCost:
        return OpCost(0, flops * numel(gradient))

    return count


for _name, _flops in {
    "upsample_linear1d": interpolation_flops(1),
    "upsample_bilinear2d": interpolation_flops(2),
    "upsample_trilinear3d": interpolation_flops(3),
    "upsample_bicubic2d": BICUBIC_FLOPS,
}.items():
    cost_rule(f"aten.{_name}")(per_element_rule(_flops))
    cost_rule(f"aten.{_name}_backward")(_per_gradient_rule(_flops))

for _dims in (1, 2, 3):
    cost_rule(*aten_names(f"upsample_nearest{_dims}d_backward _upsample_nearest_exact{_dims}d_backward"))(
        _per_gradient_rule(1)
    )


def _antialiased_rule(reach: int) -> Any:
    """The rule of a filter that reaches so many pixels to each side where it enlarges, and `scale` times that else."""

    def count(
        result: Tensor,
        /,
        x: Tensor,
        size: Any,
        align_corners: bool,
        scale_h: float | None = None,
        scale_w: float | None = None,
    ) -> OpCost | None:
        if align_corners:
            return None
        (*outer, height, width), (new_height, new_width) = x.shape, result.shape[-2:]
        across = height * (2 * _count_taps(width, new_width, scale_w, reach) - new_width)
        down = new_width * (2 * _count_taps(height, new_height, scale_h, reach) - new_height)
        return OpCost(0, prod(outer) * (across + down))

    return count


def _count_taps(old: int, new: int, factor: float | None, reach: int) -> int:
    """Elements read for all elements of one line: those whose centres the filter covers, clipped at the ends."""
    scale = 1 / factor if factor else old / new
    support = reach * max(scale, 1.0)
    centers = [scale * (i + 0.5) for i in range(new)]
    return sum(min(int(center + support + 0.5), old) - max(int(center - support + 0.5), 0) for center in centers)


cost_rule("aten._upsample_bilinear2d_aa")(_antialiased_rule(1))
cost_rule("aten._upsample_bicubic2d_aa")(_antialiased_rule(2))


@cost_rule(*aten_names("grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler"))
def grid_sample(result: Tensor, /, x: Tensor, grid: Tensor, mode: int = 0, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, _count_grid_sample(x, grid, mode))


@cost_rule(*aten_names("grid_sampler_2d_backward grid_sampler_3d_backward _grid_sampler_2d_cpu_fallback_backward"))
def grid_sample_backward(
    result: Any, /, gradient: Tensor, x: Tensor, grid: Tensor, mode: int, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, 2 * _count_grid_sample(x, grid, mode))


def _count_grid_sample(x: Tensor, grid: Tensor, mode: int) -> int:
    """Layout: x (batch, channels, …), grid (batch, …, coordinates)."""
    dims = grid.shape[-1]
    flops = {"linear": interpolation_flops(dims), "nearest": 0, "bicubic": BICUBIC_FLOPS}[GRID_SAMPLE_MODES[mode]]
    points = numel(grid) // dims
    return points * x.shape[1] * flops + 2 * numel(grid)


@cost_rule(*aten_names("affine_grid_generator"))
def affine_grid(result: Tensor, /, theta: Tensor, *_: Any, **__: Any) -> OpCost:
    macs = numel(result) * theta.shape[-1]
    return OpCost(macs, 2 * macs)
