"""Sums over the ops of a pass: what a group of ops costs, and what a whole model does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from archprof.facts.ops import Op
from archprof.facts.tensors import Storage

NO_BYTES: Mapping[str, int] = MappingProxyType({})


class Cost(NamedTuple):
    """A sum over ops. `macs` and `flops` are lower bounds when `unknown` > 0.

    Attributes:
        macs, flops: forward.
        backward_macs, backward_flops: backward; `None` when the pass had no backward.
        activation_elements: elements of new output storage in the forward pass.
        activation_bytes: the same in bytes, by the dtype the pass would run in.
        unknown: ops that no rule covers.
    """

    macs: int = 0
    flops: int = 0
    backward_macs: int | None = None
    backward_flops: int | None = None
    activation_elements: int = 0
    activation_bytes: Mapping[str, int] = NO_BYTES
    unknown: int = 0


OWNED_TOTALS = ("params", "trainable_params", "buffers", "param_bytes")
WORK_TOTALS = ("macs", "flops", "backward_macs", "backward_flops")
ACTIVATION_TOTALS = ("activation_elements", "activation_bytes")
"""The names of totals that are lower bounds together."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole model, under the names that the JSON uses. Not `complete`: those of `lower_bounds` are such."""

    params: int
    trainable_params: int
    buffers: int
    param_bytes: int
    macs: int
    flops: int
    backward_macs: int | None
    backward_flops: int | None
    activation_elements: int
    activation_bytes: dict[str, int]
    complete: bool
    lower_bounds: tuple[str, ...] = ()

    def __repr__(self) -> str:
        least = "at least " if self.lower_bounds else ""
        made = f"{self.activation_bytes['float32']:,} bytes of activations in float32"
        return f"<Totals: {least}{self.params:,} params, {self.macs:,} MACs, {self.flops:,} FLOPs, {made}>"


def list_lower_bounds(*, stopped: bool, unsized: bool, unknown: bool, train: bool) -> tuple[str, ...]:
    """The names of the totals that are lower bounds: what owned tensors take is known before anything runs.

    Args:
        stopped: the forward did not come to its end.
        unsized: some parameter has no shape.
        unknown: an op is not counted.
    """
    bounds: tuple[str, ...] = OWNED_TOTALS if unsized else ()
    if stopped or unknown:
        bounds += WORK_TOTALS if train else WORK_TOTALS[:2]
    return (*bounds, *ACTIVATION_TOTALS) if stopped else bounds


def sum_ops(ops: Iterable[Op], groups: Iterable[int], count: int) -> list[list[int]]:
    """Per group: MACs and FLOPs of the forward, of the backward, and how many ops are unknown."""
    counts = [[0, 0, 0, 0, 0] for _ in range(count)]
    for (signature, _, phase, _, _), group in zip(ops, groups, strict=True):
        row = counts[group]
        if phase != "optimizer":
            row[4] += signature.status == "unknown"
            shift = 2 if phase == "backward" else 0
            row[shift] += signature.macs or 0
            row[shift + 1] += signature.flops or 0
    return counts


def sum_activations(
    storages: Iterable[Storage],
    groups: Sequence[int],
    count: int,
    dtype: str,
    item_bytes: Mapping[str, int],
    shown: Mapping[str, int],
) -> list[tuple[int, dict[str, int]]]:
    """Elements and bytes of the activation storages, by the group of the op that made them.

    Args:
        groups: of each op, by its index.
        dtype: of the pass: what has it would take the dtype that the pass ran in.
        item_bytes: of every dtype.
        shown: bytes per element of the dtypes in which bytes are given.
    """
    elements, scaled, fixed = ([0] * count for _ in range(3))
    for nbytes, own_dtype, role, born, *_ in storages:
        if role == "activation" and born is not None:
            group = groups[born]
            numel = nbytes // item_bytes[own_dtype]
            elements[group] += numel
            if own_dtype == dtype:
                scaled[group] += numel
            else:
                fixed[group] += nbytes
    return [
        (numel, {name: width * own + others for name, width in shown.items()})
        for numel, own, others in zip(elements, scaled, fixed, strict=True)
    ]
