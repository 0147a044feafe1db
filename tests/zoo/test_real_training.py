"""Two steps of AdamW on real tensors, for nets of torchvision: the live bytes after every op are those of the trace."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torchvision
from tracing.real_storages import live_bytes, train_for_real

import archprof
from archprof.facts.liveness import compute_peak_bytes

SHAPE = (2, 3, 64, 64)

NETS = {
    "resnet18": {}, "squeezenet1_1": {}, "mobilenet_v2": {}, "mobilenet_v3_small": {}, "shufflenet_v2_x0_5": {},
    "efficientnet_b0": {}, "regnet_y_400mf": {}, "mnasnet0_5": {}, "regnet_x_400mf": {},
    "googlenet": {"aux_logits": False, "init_weights": False},
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_live_bytes_are_those_of_real_training(name: str) -> None:
    make = partial(getattr(torchvision.models, name), **NETS[name])
    adamw = partial(torch.optim.AdamW, foreach=True)
    first, later = train_for_real(make(), (torch.randn(SHAPE),), adamw, steps=2)
    profile = archprof.profile(make(), SHAPE, train=True, optimizer="adamw")
    assert live_bytes(profile, "first") == first
    assert live_bytes(profile, "steady") == later
    assert compute_peak_bytes(profile) == max(later)
