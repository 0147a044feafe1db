"""Nets that torchvision has not, against what their papers print and against sums worked by hand."""

from __future__ import annotations

import pytest
import torch
from plain_torch import build, image, macs, output_shapes, params
from torch import nn

from archprof.models import registry


@pytest.mark.parametrize(
    ("letter", "millions"), [("a", 133), ("a_lrn", 133), ("b", 133), ("c", 134), ("d", 138), ("e", 144)]
)
def test_vgg_params_are_those_of_table_2(letter: str, millions: int) -> None:
    assert round(params(build(f"vgg_{letter}")) / 1e6) == millions


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_cifar_resnet_params_are_those_of_table_6(depth: int, millions: float) -> None:
    exact = params(build(f"resnet{depth}_cifar")) / 1e6
    assert round(exact, 1 if depth == 110 else 2) == millions


def test_cifar_resnet_maps_are_32_16_8() -> None:
    shapes = output_shapes(build("resnet20_cifar"), image("resnet20_cifar"))
    assert [shapes[f"layer{stage}"] for stage in (1, 2, 3)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_zfnet_maps_are_those_of_figure_3() -> None:
    net = build("zfnet")
    shapes = output_shapes(net, image("zfnet"))
    sizes = [shapes[path][1] for path, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.MaxPool2d)]
    assert sizes == [110, 55, 26, 13, 13, 13, 13, 6]


def test_zfnet_params_by_hand() -> None:
    convolutions = [(3, 96, 7), (96, 256, 5), (256, 384, 3), (384, 384, 3), (384, 256, 3)]
    linears = [(256 * 6 * 6, 4096), (4096, 4096), (4096, 1000)]
    by_hand = sum(i * o * k * k + o for i, o, k in convolutions) + sum(i * o + o for i, o in linears)
    assert params(build("zfnet")) == by_hand == 62_357_608


def test_lenet5_params_by_hand() -> None:
    own = [params(module) for module in build("lenet5").modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert own == [
        6 * (1 * 25 + 1),
        16 * (6 * 25 + 1),
        120 * (16 * 25 + 1),
        84 * (120 + 1),
        10 * (84 + 1),
    ]
    assert sum(own) == 61_706


def test_resnet50_v1_saves_three_quarters_of_three_1x1_convolutions() -> None:
    """Table 1 of the paper says 3.8 G. v1.5 runs the first 1x1 of layers 2 to 4 before the stride, v1 after it."""
    saved = sum(channels * channels // 2 * size**2 * 3 // 4 for channels, size in ((256, 56), (512, 28), (1024, 14)))
    new, old = macs(build("resnet50"), image("resnet50")), macs(build("resnet50_v1"), image("resnet50_v1"))
    assert new - old == saved == 231_211_008
    assert old == pytest.approx(3.8e9, rel=0.02)
    assert params(build("resnet50")) == params(build("resnet50_v1"))


def test_alexnet_2012_macs_by_hand() -> None:
    """Each linear layer once a weight, each convolution once a weight and position; two groups halve the weights."""
    linears = 256 * 6 * 6 * 4096 + 4096 * 4096 + 4096 * 1000
    one, three = 96 * 3 * 121 * 55**2, 384 * 256 * 9 * 13**2
    two, four, five = 256 * 96 * 25 * 27**2, 384 * 384 * 9 * 13**2, 256 * 384 * 9 * 13**2
    grouped = one + three + (two + four + five) // 2 + linears
    assert macs(build("alexnet_2012"), image("alexnet_2012")) == grouped == 724_406_816
    assert macs(build("alexnet_ungrouped"), image("alexnet_ungrouped")) == grouped + (two + four + five) // 2


@pytest.mark.parametrize("name", registry.list_builtin_names())
def test_macs_are_the_weights_times_the_positions_they_meet(name: str) -> None:
    """Torch's counter against a sum over convolutions and linear layers: outputs times weights of one output."""
    net, x = build(name), image(name)
    shapes = output_shapes(net, x)
    by_layer = sum(
        torch.Size(shapes[path]).numel() * module.weight[0].numel()
        for path, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    )
    assert macs(net, x) == by_layer
