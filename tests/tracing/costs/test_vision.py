from __future__ import annotations

import pytest
import torch
from torchvision import ops

from archprof.tracing.ops.costs import find_cost_rule


def test_region_alignment_counts_its_samples(dispatched, meta):
    """Two regions of 3 channels and 7 x 7 bins, 2 x 2 samples a bin: 7 FLOPs a sample, 4 to average."""
    make = lambda ratio: ops.roi_align(torch.rand(1, 3, 9, 9), torch.tensor([[0, 0.0, 0, 5, 5]] * 2), 7, 1.0, ratio)  # noqa: E731
    [call] = dispatched(lambda: make(2), "torchvision.roi_align")
    assert call.count() == (0, 2 * 3 * 49 * (4 * 7 + 4), None)
    [adaptive] = dispatched(lambda: make(-1), "torchvision.roi_align")
    assert adaptive.count() is None


@pytest.mark.parametrize("masked", [False, True])
def test_deformable_convolution(dispatched, masked):
    x, weight = torch.rand(2, 4, 8, 8, requires_grad=True), torch.rand(6, 2, 3, 3, requires_grad=True)
    offset, mask = torch.rand(2, 18, 6, 6), torch.rand(2, 9, 6, 6) if masked else None
    made = []
    [call] = dispatched(
        lambda: made.append(ops.deform_conv2d(x, offset, weight, mask=mask)), "torchvision.deform_conv2d"
    )
    macs = 2 * 6 * 36 * (2 * 9)
    taps = 2 * 4 * 9 * 36
    flops = 2 * macs + made[0].numel() + taps * (7 + masked) + offset.numel()
    assert call.count() == (macs, flops, ((3, 3), (1, 1), (0, 0), (1, 1), 2, False))
    backward = dispatched(lambda: made[0].sum().backward(), "torchvision._deform_conv2d_backward")
    assert [call.count()[:2] for call in backward] == [(2 * macs, 2 * flops)]


def test_suppression_is_ordering_and_region_pooling_unknown():
    assert find_cost_rule("torchvision.nms")(None, 1, 2, 0.5) == (0, 0, None)
    assert find_cost_rule("torchvision.roi_pool") is None
