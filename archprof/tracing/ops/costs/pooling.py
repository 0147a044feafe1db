"""Pooling.

Maximum: window - 1 per output element. Average: window per output element (window - 1 adds, one division). Padding
counts as data. Adaptive pooling has windows of different lengths where the output does not divide the input: each is
counted at its own length.
Backward of a maximum: one add per element of the incoming gradient. Of an average: as the forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from archprof.facts.records import Window
from archprof.tracing.ops.costs.registry import CostRule, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import first_tensor, numel, spread_over_dims

if TYPE_CHECKING:
    from torch import Tensor

Ints = int | Sequence[int]


def _max_pool_rule(dims: int) -> CostRule:
    def count(
        result: Any,
        /,
        x: Tensor,
        kernel: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        *_: Any,
        **__: Any,
    ) -> OpCost:
        window = _make_window(dims, kernel, stride, padding, dilation)
        return OpCost(0, numel(first_tensor(result)) * (prod(window.kernel) - 1), window)

    return count


def _average_pool_rule(dims: int) -> CostRule:
    def count(
        result: Tensor, /, x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = 0, *_: Any, **__: Any
    ) -> OpCost:
        window = _make_window(dims, kernel, stride, padding, 1)
        return OpCost(0, numel(result) * prod(window.kernel), window)

    return count


def _average_pool_backward_rule(dims: int) -> CostRule:
    def count(result: Tensor, /, gradient: Tensor, x: Tensor, kernel: Ints, *_: Any, **__: Any) -> OpCost:
        return OpCost(0, numel(gradient) * prod(spread_over_dims(kernel, dims)))

    return count


def _fractional_pool_rule(dims: int) -> CostRule:
    def count(result: Any, /, x: Tensor, kernel: Ints, *_: Any, **__: Any) -> OpCost:
        return OpCost(0, numel(first_tensor(result)) * (prod(spread_over_dims(kernel, dims)) - 1))

    return count


def _adaptive_average_rule(dims: int) -> CostRule:
    def count(result: Tensor, /, x: Tensor, *_: Any, **__: Any) -> OpCost:
        elements, window = _count_adaptive_windows(x, result, dims)
        return OpCost(0, elements, window)

    return count


def _adaptive_average_backward_rule(dims: int) -> CostRule:
    def count(result: Tensor, /, gradient: Tensor, x: Tensor, *_: Any, **__: Any) -> OpCost:
        return OpCost(0, _count_adaptive_windows(x, gradient, dims)[0])

    return count


def _adaptive_max_rule(dims: int) -> CostRule:
    def count(result: Any, /, x: Tensor, *_: Any, **__: Any) -> OpCost:
        pooled = first_tensor(result)
        elements, window = _count_adaptive_windows(x, pooled, dims)
        return OpCost(0, elements - numel(pooled), window)

    return count


POOLING_OPS: dict[Callable[[int], CostRule], tuple[str, str, str]] = {
    _max_pool_rule: (
        "max_pool1d max_pool1d_with_indices",
        "max_pool2d max_pool2d_with_indices mkldnn_max_pool2d",
        "max_pool3d max_pool3d_with_indices mkldnn_max_pool3d",
    ),
    _average_pool_rule: ("avg_pool1d", "avg_pool2d", "avg_pool3d"),
    _average_pool_backward_rule: ("", "avg_pool2d_backward", "avg_pool3d_backward"),
    _fractional_pool_rule: ("", "fractional_max_pool2d", "fractional_max_pool3d"),
    _adaptive_average_rule: (
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d _adaptive_avg_pool2d mkldnn_adaptive_avg_pool2d",
        "adaptive_avg_pool3d _adaptive_avg_pool3d",
    ),
    _adaptive_average_backward_rule: (
        "",
        "_adaptive_avg_pool2d_backward mkldnn_adaptive_avg_pool2d_backward",
        "adaptive_avg_pool3d_backward _adaptive_avg_pool3d_backward",
    ),
    _adaptive_max_rule: ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
}
"""Which ops each of these counts, over one, two and three dimensions."""

for _make, _by_dims in POOLING_OPS.items():
    for _dims, _names in enumerate(_by_dims, start=1):
        cost_rule(*aten_names(_names))(_make(_dims))


@cost_rule(
    *aten_names(
        "max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward "
        "adaptive_max_pool3d_backward fractional_max_pool2d_backward fractional_max_pool3d_backward"
    )
)
def max_pool_backward(result: Tensor, /, gradient: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(gradient))


def _make_window(dims: int, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Window:
    """An empty stride means that windows stand side by side."""
    size = spread_over_dims(kernel, dims)
    return Window(
        size, spread_over_dims(stride, dims) or size, spread_over_dims(padding, dims), spread_over_dims(dilation, dims)
    )


def _count_adaptive_windows(x: Tensor, pooled: Tensor, dims: int) -> tuple[int, Window | None]:
    """Elements in all windows together, and the window where all have one size."""
    sizes, outputs = x.shape[-dims:], pooled.shape[-dims:]
    lengths = [_window_lengths(size, out) for size, out in zip(sizes, outputs, strict=True)]
    elements = prod(pooled.shape[:-dims]) * prod(map(sum, lengths))
    if any(out == 0 or size % out for size, out in zip(sizes, outputs, strict=True)):
        return elements, None
    step = tuple(size // out for size, out in zip(sizes, outputs, strict=True))
    return elements, Window(step, step, (0,) * dims, (1,) * dims)


def _window_lengths(size: int, out: int) -> list[int]:
    """Window i spans floor(i × size / out) to ceil((i + 1) × size / out): torch's AdaptiveAveragePooling.cpp."""
    return [-(-(i + 1) * size // out) - i * size // out for i in range(out)]
