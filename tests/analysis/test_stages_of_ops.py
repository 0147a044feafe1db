"""Stages of nets that work in their own forward: an op belongs to the size of what it makes, whoever called it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archprof
from archprof.analysis.metrics import METRICS

Forward = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Layers under these names, and a forward that a test writes."""

    def __init__(self, forward: Forward, **layers: nn.Module) -> None:
        super().__init__()
        self.way = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def conv(into: int = 4, out: int = 4, stride: int = 1, **options: object) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, stride, padding=1, **options)


def records(model: nn.Module, *shape: int, **options: object) -> list[dict]:
    keys = ["stage", "first", "last", "params", "macs", "flops", "act_fp32"]
    keys += ["backward_macs"] if options else []
    return archprof.profile(model, torch.zeros(shape), **options).table(by="stage", columns=keys).records()


def names(model: nn.Module, *shape: int) -> list[str]:
    return [row["stage"] for row in records(model, *shape)]


def test_a_pool_of_the_model_itself_is_where_its_output_is() -> None:
    net = Net(lambda net, x: functional.max_pool2d(functional.relu(net.c(x)), 2), c=conv(3, 4))
    first, second = records(net, 1, 3, 8, 8)
    assert (first["stage"], first["macs"], first["act_fp32"]) == ("8x8", 64 * 4 * 27, 2 * 4 * 64 * 4)
    assert (second["stage"], second["first"], second["macs"]) == ("4x4", "(model)", 0)
    assert (second["flops"], second["act_fp32"]) == (4 * 16 * 3, 4 * 4 * 16)  # three comparisons; no indices


def test_tokens_mixed_by_a_transform_of_the_model_itself() -> None:
    """FNet: 16 tokens of 8 values; only their mean and the head are vectors."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.norm(x + torch.fft.fft2(x).real)
        return net.head(x.mean(1))

    rows = records(Net(forward, norm=nn.LayerNorm(8), head=nn.Linear(8, 10)), 1, 16, 8)
    assert [row["stage"] for row in rows] == ["length 16", "vector"]
    assert (rows[1]["params"], rows[1]["macs"], rows[1]["act_fp32"]) == (90, 80, 4 * (8 + 10))


class Block(nn.Module):
    """A residual block that calls everything but its convolutions itself."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.a, self.b = conv(into, out, stride), conv(out, out)
        self.short = nn.Conv2d(into, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        short = self.short(x)  # first, as in RegNet: the branch begins at the larger size again
        return functional.relu(self.b(functional.relu(self.a(functional.relu(x)))) + short)


def test_residual_blocks_do_not_go_back_and_forth() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(net.stem(x)), 2)
        return net.fc(functional.adaptive_avg_pool2d(net.blocks(x), 1).flatten(1))

    blocks = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2), Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 1))
    rows = records(Net(forward, stem=conv(3, 4), blocks=blocks, fc=nn.Linear(16, 10)), 1, 3, 32, 32)
    assert [row["stage"] for row in rows] == ["32x32", "16x16", "8x8", "4x4", "1x1", "vector"]
    # At 16x16: the pool, six results of the first block, and the relu in front of the second.
    assert rows[1]["act_fp32"] == 4 * 4 * 256 * (1 + 7 + 1)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate", "zeros"])
def test_padding_belongs_to_what_it_pads(mode: str) -> None:
    net = nn.Sequential(conv(3, 4, padding_mode=mode), conv(4, 4, 2, padding_mode=mode))
    assert names(net, 1, 3, 8, 8) == ["8x8", "4x4"]
    assert names(Net(lambda net, x: net.c(functional.pad(x, (0, 1, 0, 1))), c=nn.Conv2d(3, 4, 2)), 1, 3, 8, 8) == [
        "8x8"
    ]


def unet(net: Net, x: Tensor) -> Tensor:
    fine = functional.relu(net.a(x))
    coarse = functional.relu(net.b(functional.avg_pool2d(fine, 2)))
    return net.c(torch.cat([fine, functional.interpolate(coarse, scale_factor=2)], 1))


def gate(net: Net, x: Tensor) -> Tensor:
    x = net.a(x)
    return net.b(x * torch.sigmoid(net.down(x.mean((2, 3)))[:, :, None, None]))


def windows(net: Net, x: Tensor) -> Tensor:
    """Attention inside of 4x4 windows that are shifted, as in Swin."""
    x = torch.roll(net.a(x).permute(0, 2, 3, 1), (-2, -2), (1, 2))
    cut = x.view(1, 2, 4, 2, 4, 4).transpose(2, 3).reshape(4, 16, 4)
    seen = functional.scaled_dot_product_attention(cut, cut, cut) + torch.softmax(cut @ cut.transpose(1, 2), -1) @ cut
    back = net.down(seen).view(1, 2, 2, 4, 4, 4).transpose(2, 3).reshape(1, 8, 8, 4)
    return net.b(torch.roll(back, (2, 2), (1, 2)).permute(0, 3, 1, 2))


def reduced(net: Net, x: Tensor) -> Tensor:
    """Keys and values of a smaller map, as in PVT, of a model that is more than this block."""
    x = net.block(net.a(x))
    return net.b(x)


def reduced_block(net: Net, x: Tensor) -> Tensor:
    q, k = x.flatten(2).transpose(1, 2), net.b(x).flatten(2).transpose(1, 2)
    return (
        (x.flatten(2).transpose(1, 2) + functional.scaled_dot_product_attention(q, k, k))
        .transpose(1, 2)
        .reshape(x.shape)
    )


def mixer(net: Net, x: Tensor) -> Tensor:
    """The layer over tokens has its hidden units in their place."""
    x = net.a(x).flatten(2)
    return net.b((x + net.up(functional.gelu(net.wide(x)))).view(1, 4, 8, 8))


def shuffled(net: Net, x: Tensor) -> Tensor:
    x = net.b(functional.pixel_unshuffle(net.a(x), 2)[:, :4])
    return functional.pixel_shuffle(x, 2)


def made_weights(net: Net, x: Tensor) -> Tensor:
    """Standardised weights: a reshape to two dimensions, and a norm over them."""
    weight = functional.layer_norm(net.a.weight.flatten(1), (27,)).view_as(net.a.weight)
    return net.b(functional.conv2d(x, weight, net.a.bias, padding=1))


def exits(net: Net, x: Tensor) -> tuple[Tensor, ...]:
    """A head in the middle: the net goes on where it left off."""
    x = net.a(x)
    early = net.down(functional.adaptive_avg_pool2d(x, 1).flatten(1))
    x = net.b(net.c(functional.max_pool2d(x, 2)))
    return early, net.down(functional.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize(
    ("forward", "layers", "expected"),
    [
        (unet, {"a": conv(3, 4), "b": conv(), "c": conv(8, 4)}, ["8x8", "4x4", "8x8"]),
        (gate, {"a": conv(3, 4), "b": conv(), "down": nn.Linear(4, 4)}, ["8x8"]),
        (windows, {"a": conv(3, 4), "b": conv(), "down": nn.Linear(4, 4)}, ["8x8"]),
        (reduced, {"a": conv(3, 4), "block": Net(reduced_block, b=nn.Conv2d(4, 4, 4, 4)), "b": conv()}, ["8x8"]),
        (mixer, {"a": conv(3, 4), "b": conv(), "wide": nn.Linear(64, 5), "up": nn.Linear(5, 64)}, ["8x8"]),
        (shuffled, {"a": conv(3, 4), "b": conv()}, ["8x8", "4x4", "8x8"]),
        (made_weights, {"a": conv(3, 4), "b": conv()}, ["8x8"]),
        (exits, {"a": conv(3, 4), "b": conv(), "c": conv(), "down": nn.Linear(4, 4)}, ["8x8", "4x4", "1x1", "vector"]),
        (lambda net, x: net.d(net.a(x)), {"a": conv(3, 4, 2), "d": nn.ConvTranspose2d(4, 4, 2, 2)}, ["4x4", "8x8"]),
    ],
    ids=["unet", "gate", "windows", "reduced", "mixer", "shuffled", "made_weights", "exits", "transposed"],
)
def test_the_stages_of(forward: Forward, layers: dict[str, nn.Module], expected: list[str]) -> None:
    assert names(Net(forward, **layers), 1, 3, 8, 8) == expected


class Level(nn.Module):
    """A level of a U-net that holds the next one, as pix2pix and MONAI nest them."""

    def __init__(self, channels: int, inner: nn.Module | None = None) -> None:
        super().__init__()
        wide = 2 * channels
        self.down, self.inner = nn.Conv2d(channels, wide, 4, 2, 1), inner or nn.Identity()
        self.up = nn.ConvTranspose2d(wide * (2 if inner else 1), channels, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.up(self.inner(self.down(x)))], 1)


def pyramid(net: Net, x: Tensor) -> Tensor:
    """A pyramid of features: what was made small is added to the map that it came from."""
    large = net.a(x)
    small = net.b(large)
    return net.out(net.side(large) + functional.interpolate(net.c(small), scale_factor=2.0))


def build_pyramid() -> Net:
    body = {"a": conv(3, 4), "b": conv(stride=2), "c": conv(), "side": nn.Conv2d(4, 4, 1), "out": conv()}
    return Net(pyramid, **body)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_holds_a_net_does_not_change_its_stages(depth: int) -> None:
    """A net that is part of another works where it did alone: MACs by hand."""
    nested, unet_alone, pyramid_alone = (
        nn.Sequential(conv(3, 4), Level(4, Level(8))),
        Net(unet, a=conv(3, 4), b=conv(), c=conv(8, 4)),
        build_pyramid(),
    )
    expected = {
        nested: [("16x16", 256 * 4 * 27), ("8x8", 64 * 8 * 4 * 16), ("4x4", 16 * 16 * 8 * 16),
                 ("8x8", 16 * 16 * 8 * 16), ("16x16", 64 * 16 * 4 * 16)],
        unet_alone: [("16x16", 256 * 4 * 27), ("8x8", 64 * 4 * 36), ("16x16", 256 * 8 * 36)],
        pyramid_alone: [("16x16", 256 * (4 * 27 + 16)), ("8x8", 2 * 64 * 4 * 36), ("16x16", 256 * 4 * 36)],
    }  # fmt: skip
    for net, stages in expected.items():
        held: nn.Module = net
        for _ in range(depth):
            held = nn.Sequential(held)
        assert [(row["stage"], row["macs"]) for row in records(held, 1, 3, 16, 16)] == stages


def test_one_and_three_dimensions() -> None:
    line = Net(lambda net, x: functional.max_pool1d(functional.relu(net.c(x)), 2), c=nn.Conv1d(3, 4, 3, padding=1))
    assert names(line, 1, 3, 16) == ["length 16", "length 8"]
    block = Net(lambda net, x: functional.avg_pool3d(functional.relu(net.c(x)), 2), c=nn.Conv3d(3, 4, 3, padding=1))
    assert names(block, 1, 3, 4, 8, 8) == ["4x8x8", "2x4x4"]


def test_a_sequence_and_its_last_step() -> None:
    net = Net(lambda net, x: net.fc(net.rnn(x)[0][:, -1]), rnn=nn.LSTM(8, 6, batch_first=True), fc=nn.Linear(6, 2))
    assert names(net, 2, 5, 8) == ["length 5", "vector"]


def test_what_a_module_holds_is_where_it_is_read() -> None:
    """A token of the model's own, cut to a vector at the end; and a layer used by hand."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.out = nn.Parameter(torch.zeros(1, 9, 4)), nn.Parameter(torch.zeros(4))
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.linear(x + self.places, self.layer.weight, self.layer.bias)
            return x.mean(1) * self.out

    assert [(row["stage"], row["params"]) for row in records(Tokens(), 1, 9, 4)] == [("length 9", 56), ("vector", 4)]


def test_the_way_back_is_where_the_way_there_was() -> None:
    """Two convolutions that the model itself calls: each costs twice its forward on the way back."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = functional.conv2d(x, net.a.weight, padding=1)
        return functional.conv2d(functional.max_pool2d(x, 2), net.b.weight, padding=1)

    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    table = archprof.profile(Net(forward, a=conv(3, 4), b=conv()), x, train=True).table(by="stage")
    found = [(row["stage"], row["macs"], row["backward_macs"]) for row in table.records()]
    assert found[:2] == [("8x8", 6912, 2 * 6912), ("4x4", 2304, 2 * 2304)]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("model", ["torchvision:inception_v3", "torchvision:vit_b_16", "torchvision:swin_v2_t"])
def test_stages_add_up_to_what_the_rows_do(model: str, train: bool) -> None:
    """The table by kind sums the calls themselves."""
    profile = archprof.profile(model, batch=2, train=train)
    keys = [
        m.key
        for m in METRICS
        if m.adds == "sum" and "stage" in m.by and not m.measured and m.key != "predicted" and (train or not m.trained)
    ]
    stages, kinds = (profile.table(by=by, columns=keys) for by in ("stage", "kind"))
    total = kinds.record(kinds.total)
    for key in keys:
        assert sum(row[key] for row in stages.records()) == total[key], key


MONOTONE = """
    alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet1_0 mobilenet_v3_large
    regnet_x_400mf regnet_y_400mf resnet50 resnext50_32x4d shufflenet_v2_x1_0 squeezenet1_1 swin_t swin_v2_t vgg11_bn
    vit_b_16
    """.split()


def positions(name: str) -> int:
    return 1 if name == "vector" else math.prod(map(int, name.removeprefix("length ").split("x")))


@pytest.mark.parametrize("name", MONOTONE)
def test_classifiers_only_get_smaller(name: str) -> None:
    """But for the token that a transformer adds; no size comes twice."""
    found = [row["stage"] for row in archprof.profile(f"torchvision:{name}").table(by="stage").records()]
    sizes = [positions(one) for one in found if one[0].isdigit() or one[0] in "vl"]
    assert len(found) == len(set(found)) <= 11
    assert all(b <= a or (b == a + 1 and name.startswith("vit")) for a, b in pairwise(sizes))


NOTHING_FOUND: dict[str, Forward] = {
    "boxes": lambda net, x: net.a(x).flatten(2)[:, :, :0].reshape(-1, 2, 2),
    "rows": lambda net, x: net.a(x).permute(0, 2, 3, 1)[:0].reshape(0, 16),
    "maps": lambda net, x: functional.adaptive_avg_pool2d(net.a(x)[:0], 1).flatten(1),
}


@pytest.mark.parametrize("name", NOTHING_FOUND)
def test_a_detector_that_finds_nothing(name: str) -> None:
    """A tensor without elements has no stage, and takes none of the work from the convolution's: 8 x 8 x 4 x 4 x 9."""
    found = records(Net(NOTHING_FOUND[name], a=conv()), 1, 4, 8, 8)
    assert (found[0]["stage"], found[0]["macs"]) == ("8x8", 9216)
    assert sum(row["macs"] for row in found) == 9216
