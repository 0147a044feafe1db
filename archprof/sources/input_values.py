"""The values of input tensors: those that were given, or drawn where none were."""

from __future__ import annotations

import math

import torch

from archprof.errors import UsageError
from archprof.sources.input_spec import InputSpec, is_floating_dtype
from archprof.units import show_whole

MAX_REAL_INPUT_ELEMENTS = 2**20
"""Elements up to which integer and bool tensors stay real on a meta pass: code may read masks and token ids."""

MAX_INT64 = torch.iinfo(torch.int64).max


def make_tensor(spec: InputSpec, device: str, batch: int, dtype: str, generator: torch.Generator) -> torch.Tensor:
    """One tensor: without values on meta, but for few integers; else with those given, or drawn.

    Args:
        device: "meta" or "cpu".
        batch: the size put in front of a batched input.
        dtype: torch's name of the dtype of an input that has none of its own.
        generator: what values are drawn with.
    """
    shape, name = spec.full_shape(batch), spec.dtype or dtype
    kind: torch.dtype = getattr(torch, name)
    if math.prod(shape) * kind.itemsize > MAX_INT64:
        raise UsageError(f"An input of {'x'.join(map(show_whole, shape))} is larger than any memory.")
    if device == "meta" and (is_floating_dtype(name) or math.prod(shape) > MAX_REAL_INPUT_ELEMENTS):
        return torch.empty(shape, dtype=kind, device="meta")
    if spec.values is not None:
        values: torch.Tensor = spec.values.detach().to("cpu", kind, copy=True)
        return values
    if is_floating_dtype(name):
        return _draw_floats(spec, shape, kind, generator)
    if spec.high is None:
        return torch.zeros(shape, dtype=kind, device="cpu")
    return _draw_integers(int(spec.low), int(spec.high), shape, generator).to(kind)


def _draw_floats(
    spec: InputSpec, shape: tuple[int, ...], kind: torch.dtype, generator: torch.Generator
) -> torch.Tensor:
    """Normal values, or even ones of the range from low to below high."""
    if spec.high is None:
        wide = torch.complex64 if kind.is_complex else torch.float32
        return torch.randn(shape, generator=generator, dtype=wide, device="cpu").to(kind)
    wide = torch.float64 if kind is torch.float64 else torch.float32
    drawn = torch.rand(shape, generator=generator, dtype=wide, device="cpu")
    made = (spec.low * (1 - drawn) + spec.high * drawn).to(kind)
    outside = (made < spec.low) | (made >= spec.high)  # the few that a narrower dtype rounds there
    return made.masked_fill_(outside, spec.low)


def _draw_integers(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Integers from low to below high, as int64: values of 2**63 and more wrap round, and uint64 reads them right."""
    if high <= MAX_INT64:
        return torch.randint(low, high, shape, generator=generator, device="cpu")
    span = min(high - low, MAX_INT64)  # of a wider range the lower part: torch draws no further
    wrapped = low if low <= MAX_INT64 else low - 2**64
    return torch.randint(0, span, shape, generator=generator, device="cpu") + wrapped
