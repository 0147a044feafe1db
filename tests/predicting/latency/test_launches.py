"""What ops cost the host that launches them."""

from __future__ import annotations

from collections import Counter

import torch
from prediction.latency_counts import list_counts
from torch import nn

import archprof
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.launches import LAUNCH_KINDS, list_launch_seconds


class Twice(nn.Module):
    """A convolution and a norm, whose result is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block(x)
        return y.relu() * y


def test_each_op_has_its_kind() -> None:
    """The gradient of what is used twice is a sum, which the engine launches as any op of a forward."""
    profile = archprof.profile(Twice(), (torch.zeros(2, 3, 4, 4),), train=True)
    names = Counter(op.signature.name for op in profile.ops if op.phase == "backward")
    assert names["aten.add.Tensor"] == 1
    counts = dict(zip(LAUNCH_KINDS, list_counts(profile)[1], strict=True))
    assert [counts[kind] for kind in ("convolution", "convolution back", "norm", "norm back")] == [1, 1, 1, 1]
    forward = Counter(op.signature.name for op in profile.ops if op.phase == "forward")
    assert {"aten.relu.default", "aten.mul.Tensor", "aten.add_.Tensor"} <= set(forward)
    assert counts["op"] == 3 + 1
    assert sum(counts.values()) == len(profile.ops)


def test_seconds_stand_at_the_place_of_their_kind() -> None:
    constants = load_constants()["kernels"]
    seconds = dict(zip(LAUNCH_KINDS, list_launch_seconds(constants), strict=True))
    for kind in ("convolution", "op", "norm"):
        assert seconds[kind] == constants[f"host_{kind}"]
        assert seconds[f"{kind} back"] == seconds[kind] * constants["host_back"]
    assert (seconds["view"], seconds["optimizer"]) == (constants["host_view"], constants["host_optimizer"])
