"""Fast Fourier transforms: 5 N log2 N FLOPs for a complex transform of N points, half of it when one side is real.

The convention of FFTW's benchmark (https://www.fftw.org/speed/method.html): the count of the radix-2 algorithm,
whatever algorithm runs. Rounded down to an integer for the whole call. Normalisation is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod
from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import NO_COST, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor


@cost_rule(*aten_names("_fft_c2c"))
def complex_to_complex(result: Tensor, /, x: Tensor, dim: Sequence[int], *_: Any, **__: Any) -> OpCost:
    return _count_transforms(x, dim, 5.0)


@cost_rule(*aten_names("_fft_r2c"))
def real_to_complex(result: Tensor, /, x: Tensor, dim: Sequence[int], *_: Any, **__: Any) -> OpCost:
    return _count_transforms(x, dim, 2.5)


@cost_rule(*aten_names("_fft_c2r"))
def complex_to_real(result: Tensor, /, x: Tensor, dim: Sequence[int], *_: Any, **__: Any) -> OpCost:
    return _count_transforms(result, dim, 2.5)


def _count_transforms(full: Tensor, dim: Sequence[int], factor: float) -> OpCost:
    """All transforms of a tensor that holds every point: N of them each, `numel` together."""
    points = prod(full.shape[d] for d in dim)
    return OpCost(0, int(factor * numel(full) * log2(points))) if points > 1 else NO_COST
