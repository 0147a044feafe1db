"""Eleven nets of the sample over three training steps on real tensors of the CPU: live bytes after every op are equal.

python -m pytest -m slow tests/zoo/test_training_steps.py      all nets in all ways; the fast suite has a few
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from tracing.real_storages import live_bytes, train_for_real
from zoo.sample import SAMPLE

from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.request import PassRequest
from archprof.sources.resolve import resolve
from archprof.tracing.profile import profile_model

pytest.importorskip("timm")

NETS = (
    "dla34", "efficientnet_lite0", "ghostnet_050", "hrnet_w18_small", "nf_resnet26", "regnetx_002",
    "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5",
    "convnext_atto", "tinynet_e",
)  # fmt: skip
SHAPE = (2, 3, 64, 64)

SGD = partial(torch.optim.SGD, momentum=0.9, foreach=True)
ADAM = partial(torch.optim.Adam, foreach=True)
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (SGD, {"optimizer": "sgd(momentum=0.9)"}),
    "adam": (ADAM, {"optimizer": "adam"}),
    "amp": (ADAM, {"optimizer": "adam", "amp": "bfloat16", "amp_device": "cpu"}),
    "checkpoint": (ADAM, {"optimizer": "adam"}),
    "accumulate": (ADAM, {"optimizer": "adam", "accumulate": 2}),
    "keep gradients": (SGD, {"optimizer": "sgd(momentum=0.9)", "set_to_none": False}),
}

FAST = {
    ("regnetx_002", "sgd"), ("mobilenet_v3_small", "amp"), ("shufflenet_v2_x0_5", "checkpoint"),
    ("efficientnet_lite0", "accumulate"), ("ghostnet_050", "adam"), ("tinynet_e", "keep gradients"),
    ("convnext_atto", "amp"),
}  # fmt: skip

COPIED_FIRST = {("convnext_atto", "keep gradients")}
"""Gradients with channels last go into a first copy that lies as the weight does. Where gradients are kept, a trace has
the additions of the later steps in its place, so that the ops are others, and the peak the same."""


class Checkpointed(nn.Module):
    """Keeps its input alone, and runs twice."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> Any:
        return checkpoint(self.net, x, use_reentrant=False)


class Cast(nn.Module):
    """Runs under the CPU's autocast."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x)


def make_net(name: str, way: str, device: str) -> nn.Module:
    sampled = next(one for one in SAMPLE if one.name == name)
    net = resolve(sampled.spec, sampled.inputs).model
    assert isinstance(net, nn.Module)
    if device == "cpu":
        net = net.to_empty(device="cpu")
        for tensor in (*net.parameters(), *net.buffers()):
            nn.init.ones_(tensor)
    return Checkpointed(net) if way == "checkpoint" else net


def assert_equal_to_real(name: str, way: str) -> None:
    make_optimizer, options = WAYS[way]
    net = make_net(name, way, "cpu")
    real = train_for_real(
        Cast(net) if "amp" in options else net, (torch.randn(SHAPE),), make_optimizer,
        accumulate=options.get("accumulate", 1), set_to_none=options.get("set_to_none", True),
    )  # fmt: skip
    profile = profile_model(make_net(name, way, "meta"), SHAPE, PassRequest(train=True, **options))
    profile.check()
    assert live_bytes(profile, "steady") == real[1] == real[2]
    first = live_bytes(profile, "first")
    assert max(first) == max(real[0]) if (name, way) in COPIED_FIRST else first == real[0]
    assert compute_peak_bytes(profile) == max(real[2])


@pytest.mark.parametrize(
    ("name", "way"),
    [pytest.param(name, way, marks=() if (name, way) in FAST else pytest.mark.slow) for name in NETS for way in WAYS],
)
def test_live_bytes_are_those_of_real_training(name: str, way: str) -> None:
    assert_equal_to_real(name, way)
