"""Interpolation and sampling at computed places.

Linear interpolation in d dimensions: 2^d multiplies and 2^d - 1 adds an output element, so 3, 7, 15; bicubic: 16 and
15, so 31; nearest: none. The weights, shared by all channels, are not counted. Backward: as the forward, and for
nearest one add an element of the incoming gradient. Filters that widen with the scale (`antialias=True`) are unknown.
Sampling on a grid adds 2 FLOPs a coordinate to bring it to pixels; its backward costs twice its forward. An affine
grid is a matrix product: MACs = its elements × the length of a homogeneous coordinate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.capture.costs.pointwise import each
from archprof.capture.costs.registry import Count, aten, rule
from archprof.capture.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor

BICUBIC = 31
MODES = ("linear", "nearest", "bicubic")
"""Of `grid_sampler`, by the number it is given."""


def linear(dims: int) -> int:
    """FLOPs of one linear interpolation between the 2^dims corners round a point."""
    return (2 << dims) - 1


def _per_gradient(flops: int) -> Any:
    def count(result: Tensor, /, gradient: Tensor, *_: Any, **__: Any) -> Count:
        return Count(0, flops * numel(gradient))

    return count


for _name, _flops in {
    "upsample_linear1d": linear(1),
    "upsample_bilinear2d": linear(2),
    "upsample_trilinear3d": linear(3),
    "upsample_bicubic2d": BICUBIC,
}.items():
    rule(f"aten.{_name}")(each(_flops))
    rule(f"aten.{_name}_backward")(_per_gradient(_flops))

for _dims in (1, 2, 3):
    rule(*aten(f"upsample_nearest{_dims}d_backward _upsample_nearest_exact{_dims}d_backward"))(_per_gradient(1))


@rule(*aten("grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler"))
def grid_sample(result: Tensor, /, x: Tensor, grid: Tensor, mode: int = 0, *_: Any, **__: Any) -> Count:
    return Count(0, _sampled(x, grid, mode))


@rule(*aten("grid_sampler_2d_backward grid_sampler_3d_backward _grid_sampler_2d_cpu_fallback_backward"))
def grid_sample_backward(
    result: Any, /, gradient: Tensor, x: Tensor, grid: Tensor, mode: int, *_: Any, **__: Any
) -> Count:
    return Count(0, 2 * _sampled(x, grid, mode))


def _sampled(x: Tensor, grid: Tensor, mode: int) -> int:
    """Layout: x (batch, channels, …), grid (batch, …, coordinates)."""
    dims = grid.shape[-1]
    flops = {"linear": linear(dims), "nearest": 0, "bicubic": BICUBIC}[MODES[mode]]
    points = numel(grid) // dims
    return points * x.shape[1] * flops + 2 * numel(grid)


@rule(*aten("affine_grid_generator"))
def affine_grid(result: Tensor, /, theta: Tensor, *_: Any, **__: Any) -> Count:
    macs = numel(result) * theta.shape[-1]
    return Count(macs, 2 * macs)
