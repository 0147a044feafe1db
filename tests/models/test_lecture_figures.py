"""The lectures' figures on shapes, parameters and layers of a built-in net; a test's id is the row's.

Exact rows are read from the table. Where the lecture is wrong, the derivation stands in the test.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from lectures import ROWS
from plain_torch import build, image, macs, output_shapes, params, weight_layers
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

AT_227 = torch.empty(1, 3, 227, 227, device="meta")


def layer(name: str, path: str) -> nn.Module:
    return build(name).get_submodule(path)


def shape(name: str, path: str, x: torch.Tensor | None = None) -> tuple[int, ...]:
    return output_shapes(build(name), image(name) if x is None else x)[path]


def numel(name: str, path: str, x: torch.Tensor | None = None) -> int:
    return torch.Size(shape(name, path, x)).numel()


def depths(*names: str) -> list[int]:
    return [len(weight_layers(build(name))) for name in names]


def of_kind(name: str, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in build(name).modules() if isinstance(module, kind)]


def shares_of_alexnet() -> list[float]:
    """Percent of the parameters in convolutions and in linear layers."""
    split = [sum(map(params, of_kind("alexnet", kind))) for kind in (nn.Conv2d, nn.Linear)]
    return [round(100 * part / params(build("alexnet")), 1) for part in split]


def first_maps_of_alexnet_2012() -> list[int]:
    first = build("alexnet_2012").features[0]
    return [side for size in (224, 227) for side in first(torch.empty(1, 3, size, size, device="meta")).shape[2:]]


def last_widths(name: str) -> list[int]:
    """Channels that each block ends with, seen at its pooling."""
    net = build(name)
    shapes = output_shapes(net, image(name))
    return [shapes[path][0] for path, module in net.named_modules() if isinstance(module, nn.MaxPool2d)]


EXACT: dict[str, Callable[[], object]] = {
    "V6": lambda: params(build("cifar_alexnet_bn")),
    "V7": lambda: params(build("cifar_vgg_bn")),
    "V8": lambda: depths("vgg_a", "vgg_a_lrn", "vgg_b", "vgg_c", "vgg_d", "vgg_e"),
    "D1": lambda: shape("alexnet", "features.0", AT_227),
    "D2": lambda: numel("alexnet", "features.0", AT_227),
    "D3": lambda: numel("alexnet", "features.0", AT_227) * torch.float32.itemsize,
    "D4": lambda: params(layer("alexnet", "features.0")),
    "D5": lambda: macs(layer("alexnet", "features.0"), AT_227),
    "D6": shares_of_alexnet,
    "D7": lambda: params(build("alexnet_ungrouped")),
    "D8": lambda: params(build("alexnet_2012")),
    "D9": first_maps_of_alexnet_2012,
    "D10": lambda: params(build("alexnet_d2l")),
    "D11": lambda: depths("vgg11"),
    "D12": lambda: last_widths("vgg11_d2l_small"),
    "K1": lambda: params(build("vgg16", num_classes=10)),
    "K2": lambda: params(layer("vgg16", "features.0")),
    "K3": lambda: params(layer("vgg16", "features.2")),
    "K4": lambda: shape("vgg16", "flatten"),
    "R1": lambda: params(build("cifar_alexnet")),
    "R2": lambda: params(build("cifar_vgg")),
    "R3": lambda: params(build("cifar_vgg_bn")),
    "R4": lambda: params(build("cifar_vgg_bn_deep")),
    "R5": lambda: params(build("cifar_resnet")),
    "R6": lambda: params(build("cifar_resnet_deep")),
    "M1": lambda: params(layer("alexnet_nopad", "features.0")),
    "M2": lambda: shape("alexnet_nopad", "features.2"),
    "M3": lambda: params(layer("alexnet_nopad", "features.3")),
    "M4": lambda: [params(layer("alexnet_nopad", f"features.{place}")) for place in (6, 8, 10)],
    "M5": lambda: shape("alexnet_nopad", "flatten"),
    "M11": lambda: params(layer("vgg16", "classifier.0")),
    "M13": lambda: depths("alexnet_nopad", "zfnet_nopad"),
}


@pytest.mark.parametrize("row", EXACT)
def test_exact_row(row: str) -> None:
    found = EXACT[row]()
    assert (list(found) if isinstance(found, list | tuple) else [found]) == ROWS[row].numbers


def test_d11_blocks_of_vgg11() -> None:
    widths = [module.out_channels for module in of_kind("vgg11", nn.Conv2d)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512]
    assert len(of_kind("vgg11", nn.Linear)) == 3


def test_d12_totals_by_hand() -> None:
    """A quarter of VGG-11's channels, then linear layers on 128 maps of 7x7."""
    widths = [1, 16, 32, 64, 64, 128, 128, 128, 128]
    convolutions = sum(9 * i * o + o for i, o in pairwise(widths))
    linears = (128 * 7 * 7 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10
    assert params(build("vgg11_d2l_small")) == convolutions + linears


@pytest.mark.parametrize(
    ("path", "kib", "thousands", "millions"),
    [("features.0", 784, 23, 73), ("features.3", 547, 307, 224), ("classifier.1", 16, 37753, 38)],
)
def test_d13_layers_of_alexnet(path: str, kib: int, thousands: int, millions: int) -> None:
    module = layer("alexnet", path)
    assert round(numel("alexnet", path, AT_227) * 4 / 1024) == kib
    assert round(params(module) / 1e3) == thousands
    assert round(numel("alexnet", path, AT_227) * module.weight[0].numel() / 1e6) == millions


def test_r9_one_add_a_residual_block() -> None:
    """Counted by a dispatch mode of its own: the batch norms' counters are not touched in eval mode."""
    adds: list[str] = []

    class CountAdds(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "aten::add" in func.name():
                adds.append(func.name())
            return func(*args, **(kwargs or {}))

    net = build("cifar_resnet")
    blocks = [module for module in net.modules() if type(module).__name__ == "BasicBlock"]
    with CountAdds(), torch.no_grad():
        net(image("cifar_resnet"))
    assert len(adds) == len(blocks) == 8


def test_m1_m4_shapes_of_alexnet_nopad() -> None:
    shapes = output_shapes(build("alexnet_nopad"), image("alexnet_nopad"))
    convolutions_and_pools = [shapes[f"features.{place}"] for place in (0, 2, 3, 5, 6, 8, 10, 12)]
    assert convolutions_and_pools == [
        (96, 55, 55),
        (96, 27, 27),
        (256, 23, 23),
        (256, 11, 11),
        (384, 9, 9),
        (384, 7, 7),
        (256, 5, 5),
        (256, 2, 2),
    ]


LINEAR_OF_ALEXNET_NOPAD = 1024 * 4096 + 4096 * 4096 + 4096 * 1000


def test_m6_total_of_alexnet_nopad() -> None:
    """Said to be 27.55 M, a sum of rounded terms (4 + 16 + 4 M for the linear layers). Exact: every kernel in full."""
    convolutions = 11 * 11 * 3 * 96 + 5 * 5 * 96 * 256 + 3 * 3 * (256 * 384 + 384 * 384 + 384 * 256)
    biases = 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000
    assert convolutions == 34_848 + 614_400 + 884_736 + 1_327_104 + 884_736
    assert [params(build("alexnet_nopad"))] == ROWS["M6"].numbers == [convolutions + LINEAR_OF_ALEXNET_NOPAD]
    assert params(build("alexnet_nopad", bias=True)) == convolutions + LINEAR_OF_ALEXNET_NOPAD + biases == 28_823_912


def test_m7_linear_layers_of_alexnet_nopad() -> None:
    """Said to be about 24 M. 4,194,304 + 16,777,216 + 4,096,000 is 25.07 M."""
    assert [params(layer("alexnet_nopad", "classifier"))] == ROWS["M7"].numbers == [LINEAR_OF_ALEXNET_NOPAD]


def zfnet_nopad_by_hand() -> int:
    convolutions = 7 * 7 * 3 * 96 + 5 * 5 * 96 * 256 + 3 * 3 * (256 * 512 + 512 * 1024 + 1024 * 512)
    return convolutions + 512 * 2 * 2 * 4096 + 4096 * 4096 + 4096 * 1000


def test_m8_zfnet_nopad() -> None:
    """The lecture keeps 55x55 after the 7x7; (227 - 7) / 4 + 1 is 56. The pooling makes 27x27 of both."""
    shapes = output_shapes(build("zfnet_nopad"), image("zfnet_nopad"))
    assert [shapes[f"features.{place}"][1] for place in (0, 2, 3, 5, 6, 8, 10, 12)] == [56, 27, 23, 11, 9, 7, 5, 2]
    assert [params(build("zfnet_nopad"))] == ROWS["M8"].numbers == [zfnet_nopad_by_hand()]


def test_m9_zfnet_nopad_has_more_than_alexnet_nopad() -> None:
    """Said to be 1.45 M more.

    The first kernel shrinks from 11x11 to 7x7, the three 3x3 layers widen, and so do the 2x2 maps that the
    first linear layer reads: 2,048 in place of 1,024.
    """
    first = (7 * 7 - 11 * 11) * 3 * 96
    widened = 9 * (256 * (512 - 384) + (512 * 1024 - 384 * 384) + (1024 * 512 - 384 * 256))
    linear = (2048 - 1024) * 4096
    difference = params(build("zfnet_nopad")) - params(build("alexnet_nopad"))
    assert [difference] == ROWS["M9"].numbers == [first + widened + linear]


def test_m10_vgg16_inside_and_outside_the_linear_layers() -> None:
    """Said to be 16 M and 122 M: the lecture rounds one up and the other down. Exact, with biases."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(9 * i * o + o for i, o in pairwise(widths))
    linears = (512 * 7 * 7 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    found = [params(layer("vgg16", "features")), params(layer("vgg16", "classifier"))]
    assert found == ROWS["M10"].numbers == [convolutions, linears]
