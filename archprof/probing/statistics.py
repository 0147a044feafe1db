"""Numbers about the tensors of a pass, taken while it runs: no tensor is kept for them.

Values are read as float32, or as float64 where they are; means and squares are then merged over batches in Python's
floats, as Chan, Golub and LeVeque do ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from archprof.facts.probed import Activation
from archprof.units import keep_finite

SATURATED_WITHIN = 0.01
"""The share of its range within which an element is as good as at a bound."""

RANK_TOLERANCE = 0.01
"""The share of the largest singular value from which on a singular value counts."""

RANK_SAMPLES, RANK_FEATURES = 64, 4096
"""The part of a batch whose rank is taken: its first samples, and elements of each at even distances."""

CHANNELS_FIRST = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.BatchNorm1d,
    nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm, nn.LocalResponseNorm,
)  # fmt: skip
FEATURES_LAST = (
    nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.MultiheadAttention, nn.RNNBase,
    nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
)  # fmt: skip


def find_bounds(module: nn.Module) -> tuple[float, float] | None:
    """The least and the greatest value of a bounded activation; `None` for all other modules."""
    if isinstance(module, nn.Sigmoid | nn.Hardsigmoid):
        return 0.0, 1.0
    if isinstance(module, nn.Tanh | nn.Softsign):
        return -1.0, 1.0
    if isinstance(module, nn.Hardtanh):  # and ReLU6, which is one
        return module.min_val, module.max_val
    return None


class UnitAxes:
    """Which dimension of a tensor counts its units, as the modules with weights say it.

    It is the second behind convolutions and batch norms, and the last behind linear layers, layer norms and attention.
    What another module returns has its units where the last of those that made this shape had them, or else in the
    second dimension of images and volumes and in the last of other tensors.
    """

    def __init__(self) -> None:
        self._by_shape: dict[torch.Size, int] = {}

    def find(self, module: nn.Module, shape: torch.Size) -> int | None:
        """The dimension; `None` for a tensor that has not two."""
        if len(shape) < 2:
            return None
        if isinstance(module, CHANNELS_FIRST):
            self._by_shape[shape] = 1
        elif isinstance(module, FEATURES_LAST):
            self._by_shape[shape] = len(shape) - 1
        return self._by_shape.get(shape, 1 if len(shape) > 3 else len(shape) - 1)


@dataclass
class CallStatistics:
    """What is known so far of the tensors that one call returned."""

    elements: int = 0
    finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    largest: float = -math.inf
    zeros: int = 0
    saturated: int | None = None
    alive: torch.Tensor | None = field(default=None, repr=False)
    has_units: bool = True
    rank: int | None = None
    rank_limit: int | None = None

    def add(self, tensor: torch.Tensor, axis: int | None, bounds: tuple[float, float] | None) -> None:
        """Count one tensor in.

        Args:
            axis: the dimension of its units; `None`: these units are not counted.
            bounds: of the activation that made it.
        """
        values = tensor if tensor.dtype == torch.float64 else tensor.float()
        if not values.numel():
            return
        self._add_zeros(values, axis)
        self._add_moments(values)
        if bounds is not None:
            self.saturated = (self.saturated or 0) + count_saturated(values, *bounds)

    def _add_zeros(self, values: torch.Tensor, axis: int | None) -> None:
        self.elements += values.numel()
        if axis is None:
            self.zeros += values.numel() - int(values.count_nonzero())
            return
        others = [dim for dim in range(values.dim()) if dim != axis]
        nonzero = values.count_nonzero(others)
        self.zeros += values.numel() - int(nonzero.sum())
        alive = nonzero > 0
        if self.alive is None:
            self.alive = alive
        elif self.alive.shape == alive.shape:
            self.alive |= alive
        else:
            self.has_units = False

    def _add_moments(self, values: torch.Tensor) -> None:
        least, largest = (float(each) for each in torch.aminmax(values))
        if not (math.isfinite(least) and math.isfinite(largest)):
            values = values[values.isfinite()]
            if not values.numel():
                return
            least, largest = (float(each) for each in torch.aminmax(values))
        self.least, self.largest = min(self.least, least), max(self.largest, largest)
        variance, mean = float(values.var(correction=0)), float(values.mean())  # var_mean takes six times as long
        self._merge(values.numel(), mean, variance * values.numel())

    def _merge(self, count: int, mean: float, squares: float) -> None:
        apart, whole = mean - self.mean, self.finite + count
        self.squares += squares + apart * apart * self.finite * count / whole
        self.mean += apart * count / whole
        self.finite = whole

    def record(self, key: int) -> Activation:
        """The numbers as facts; `key` is the call."""
        alive = self.alive if self.has_units else None
        some = self.finite > 0
        return Activation(
            key=key,
            elements=self.elements,
            mean=keep_finite(self.mean) if some else None,
            std=keep_finite(math.sqrt(self.squares / self.finite)) if some else None,
            least=self.least if some else None,
            largest=self.largest if some else None,
            zeros=self.zeros,
            nonfinite=self.elements - self.finite,
            units=None if alive is None else alive.numel(),
            dead=None if alive is None else alive.numel() - int(alive.sum()),
            saturated=self.saturated,
            rank=self.rank,
            rank_limit=self.rank_limit,
        )


def count_saturated(values: torch.Tensor, least: float, largest: float) -> int:
    """Elements within `SATURATED_WITHIN` of the range from one of its bounds."""
    near = SATURATED_WITHIN * (largest - least)
    return int((values <= least + near).sum() + (values >= largest - near).sum())


def measure_rank(tensor: torch.Tensor) -> tuple[int, int] | None:
    """Rank and greatest possible rank of the samples: see `Activation.rank`; `None` where some element is not finite.

    The singular values are the roots of the eigenvalues of the samples' products with one another, in float64.
    """
    samples = tensor[:RANK_SAMPLES].flatten(1)
    step = -(-samples.shape[1] // RANK_FEATURES) or 1
    matrix = samples[:, ::step].double()
    limit = min(matrix.shape)
    if not limit or not bool(matrix.isfinite().all()):
        return None
    squares = torch.linalg.eigvalsh(matrix @ matrix.T)
    largest = float(squares[-1])
    return (int((squares >= RANK_TOLERANCE**2 * largest).sum()) if largest > 0 else 0, limit)
