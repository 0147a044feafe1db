"""What the host needs to launch the ops of a pass one by one, and what that does to the time of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archprof.facts.ops import Phase, Signature
from archprof.predicting.latency.works import Work

LAUNCH_KINDS = ("convolution", "convolution back", "view", "op", "op back", "optimizer", "norm", "norm back")
"""Ops that take the host about equally long."""


def classify_launch(signature: Signature, phase: Phase, works: Sequence[Work]) -> int:
    """The kind of an op, by its index in `LAUNCH_KINDS`; a sum of gradients is no op of the backward of another."""
    kind, is_back = works[0].kind, phase == "backward"
    if kind == "view":
        return 2
    if phase == "optimizer":
        return 5
    if kind in ("norm", "group_norm"):
        return 6 + is_back
    if "convolution" in signature.name:
        return int(is_back)
    return 3 + (is_back and signature.name != "aten.add.Tensor")


def list_launch_seconds(constants: Mapping[str, float]) -> tuple[float, ...]:
    """Seconds of the host for an op of each kind; those of the backward take a multiple of the forward's."""
    convolution, op, norm = (constants[f"host_{kind}"] for kind in ("convolution", "op", "norm"))
    back = constants["host_back"]
    others = constants["host_view"], op, op * back, constants["host_optimizer"]
    return convolution, convolution * back, *others, norm, norm * back


def join_host(kernel: Any, host: Any, constants: Mapping[str, float]) -> Any:
    """Seconds of a pass whose kernels run while the host launches the next ones: a little more than the longer of both.

    Numbers or arrays.
    """
    power = constants["join"]
    return (kernel**power + host**power) ** (1 / power)
