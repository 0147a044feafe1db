"""What the host needs to launch the ops of a pass one by one, and what that does to the time of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archprof.facts.ops import Phase, Signature
from archprof.predicting.latency.works import Work

LAUNCH_KINDS = ("convolution", "convolution back", "view", "op", "op back", "optimizer")
"""Ops that take the host about equally long."""


def classify_launch(signature: Signature, phase: Phase, works: Sequence[Work]) -> int:
    """The kind of an op, by its index in `LAUNCH_KINDS`."""
    if works[0].kind == "view":
        return 2
    if phase == "optimizer":
        return 5
    return (0 if "convolution" in signature.name else 3) + (phase == "backward")


def list_launch_seconds(constants: Mapping[str, float]) -> tuple[float, ...]:
    """Seconds of the host for an op of each kind; those of the backward take a multiple of the forward's."""
    convolution, op, back = constants["host_convolution"], constants["host_op"], constants["host_back"]
    return convolution, convolution * back, constants["host_view"], op, op * back, constants["host_optimizer"]


def join_host(kernel: Any, host: Any, constants: Mapping[str, float]) -> Any:
    """Seconds of a pass whose kernels run while the host launches the next ones: a little more than the longer of both.

    Numbers or arrays.
    """
    power = constants["join"]
    return (kernel**power + host**power) ** (1 / power)
