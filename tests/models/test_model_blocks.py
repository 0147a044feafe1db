"""The shared pieces, against the formulas of the papers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archprof.models.blocks import chain_modules, cross_channel_norm, initialise_weights
from archprof.models.resnet import BasicBlock, ZeroPadShortcut


def test_response_norm_is_the_papers_with_alpha_not_divided_by_n() -> None:
    torch.manual_seed(0)
    a = torch.randn(1, 7, 1, 1, dtype=torch.float64) * 30
    k, n, alpha, beta = 2, 5, 1e-4, 0.75
    expected = [
        a[0, i, 0, 0]
        / (k + alpha * sum(a[0, j, 0, 0] ** 2 for j in range(max(0, i - n // 2), min(7, i + n // 2 + 1)))) ** beta
        for i in range(7)
    ]
    assert torch.allclose(cross_channel_norm()(a).flatten(), torch.stack(expected))


def test_zero_pad_shortcut_takes_every_second_pixel_and_adds_empty_channels() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    y = ZeroPadShortcut(new_channels=3, stride=2)(x)
    assert y.shape == (1, 5, 2, 2)
    assert y[0, 1].tolist() == [[16, 18], [24, 26]]
    assert not y[0, 2:].any()


def test_a_block_adds_its_input_before_the_last_relu() -> None:
    block = BasicBlock(2, 2).eval()
    nn.init.zeros_(block.bn2.weight)  # silences the residual branch
    x = torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)
    assert block(x).flatten().tolist() == [0.0, 2.0]


def test_initialise_draws_convolutions_by_fan_out_and_linear_layers_by_the_given_width() -> None:
    torch.manual_seed(0)
    net = initialise_weights(chain_modules(a=nn.Conv2d(4, 64, 3), b=nn.Linear(100, 100)), linear_std=0.01)
    convolution, linear = net
    assert convolution.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not convolution.bias.any()
    assert not linear.bias.any()


def test_initialise_leaves_linear_layers_as_they_are_unless_told() -> None:
    net = chain_modules(a=nn.Conv2d(1, 1, 1), b=nn.Linear(3, 3))
    before = net.b.weight.clone()
    assert torch.equal(initialise_weights(net).b.weight, before)
