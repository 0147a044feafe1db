"""Whole models, forward: our rules over every dispatched op, against torch's counter over the same pass."""

from __future__ import annotations

import pytest
import torch
import torchvision

from archprof.tracing.oracles import torch_macs


@pytest.mark.parametrize(
    ("name", "published"),
    [  # G MACs as printed in the weights' metadata (`_ops`)
        ("vgg16", 15.47),
        ("resnet50", 4.089),
        ("mobilenet_v3_large", 0.217),
        ("densenet121", 2.834),
        ("swin_t", 4.491),
        ("convnext_tiny", 4.456),
    ],
)
def test_macs_are_torchs_and_the_published_ones(dispatched, name, published):
    with torch.device("meta"):
        model, x = torchvision.models.get_model(name).eval(), torch.zeros(1, 3, 224, 224)
    with torch.no_grad():
        counts = [call.count() for call in dispatched(lambda: model(x))]
    assert None not in counts
    macs = sum(count.macs for count in counts)
    assert macs == torch_macs(model, (x,))
    assert round(macs / 1e9, 3) == published
