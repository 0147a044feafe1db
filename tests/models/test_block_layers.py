"""Nets made from block specs. Oracles: the paper's VGG nets built in, hand-worked counts, torch's own forward."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models.test_block_grammar import nets
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

import archprof
from archprof.errors import UnknownName, UsageError
from archprof.models.block_grammar import BlockSpec, count_layers, parse_blocks
from archprof.models.block_layers import ResidualBlock, build_net

HEAD = "flatten linear-4096 relu dropout linear-4096 relu dropout linear-1000"
VGG = {
    "vgg_a": "conv3-64 relu pool2 conv3-128 relu pool2 (conv3-256 relu)x2 pool2 ((conv3-512 relu)x2 pool2)x2",
    "vgg_a_lrn": "conv3-64 relu lrn pool2 conv3-128 relu pool2 (conv3-256 relu)x2 pool2 ((conv3-512 relu)x2 pool2)x2",
    "vgg_b": "(conv3-64 relu)x2 pool2 (conv3-128 relu)x2 pool2 (conv3-256 relu)x2 pool2 ((conv3-512 relu)x2 pool2)x2",
    "vgg_c": "(conv3-64 relu)x2 pool2 (conv3-128 relu)x2 pool2 (conv3-256 relu)x2 conv1-256 relu pool2 "
    "((conv3-512 relu)x2 conv1-512 relu pool2)x2",
    "vgg_d": "(conv3-64 relu)x2 pool2 (conv3-128 relu)x2 pool2 (conv3-256 relu)x3 pool2 ((conv3-512 relu)x3 pool2)x2",
    "vgg_e": "(conv3-64 relu)x2 pool2 (conv3-128 relu)x2 pool2 (conv3-256 relu)x4 pool2 ((conv3-512 relu)x4 pool2)x2",
}
"""Table 1 of the VGG paper, a line each."""


def build_blocks(text: str, shape: tuple[int, ...]) -> nn.Sequential:
    return build_net(parse_blocks(text), text, shape)


@pytest.mark.parametrize("name", VGG)
def test_writes_the_vgg_table(name: str) -> None:
    mine, theirs = archprof.profile(f"{VGG[name]} {HEAD}", "3x224x224"), archprof.profile(name)
    mine.check()
    assert mine.totals.params == theirs.totals.params
    assert mine.totals.macs == theirs.totals.macs
    assert mine.totals.activation_elements - theirs.totals.activation_elements == -512 * 7 * 7  # its adaptive pooling


@pytest.mark.parametrize(
    ("spec", "params", "macs"),
    [
        ("conv5-128/nobias", 204_800, 209_715_200),
        ("conv3-32/nobias conv3-128/nobias", 55_296, 56_623_104),
        ("dw3/nobias conv1-128/nobias", 64 * 9 + 64 * 128, (64 * 9 + 64 * 128) * 1024),
        ("conv3-64/g4/nobias", 64 * 16 * 9, 64 * 16 * 9 * 1024),
        ("conv3-128/s2", 64 * 128 * 9 + 128, 64 * 128 * 9 * 256),
        ("tconv2-32/s2", 64 * 32 * 4 + 32, 64 * 32 * 4 * 1024),
        ("[conv3-64/nobias]", 64 * 64 * 9, 64 * 64 * 9 * 1024),
        ("[conv3-128/s2/nobias]", 64 * 128 * 9 + 64 * 128, (64 * 128 * 9 + 64 * 128) * 256),
        ("bn gap flatten linear-10", 2 * 64 + 650, 640),
    ],
)
def test_costs_what_is_worked_by_hand(spec: str, params: int, macs: int) -> None:
    totals = archprof.profile(spec, "64x32x32").totals
    assert (totals.params, totals.macs, totals.complete) == (params, macs, True)


@pytest.mark.parametrize(
    ("spec", "shape", "module", "out"),
    [
        ("conv3-8", (4, 9), nn.Conv1d, (8, 9)),
        ("conv3-8/s2", (4, 9, 8), nn.Conv2d, (8, 5, 4)),
        ("conv3-8/d2", (4, 5, 6, 7), nn.Conv3d, (8, 5, 6, 7)),
        ("dw5", (4, 9, 9), nn.Conv2d, (4, 9, 9)),
        ("tconv2-8/s2", (4, 5), nn.ConvTranspose1d, (8, 10)),
        ("tconv4-8/s2", (4, 5, 6), nn.ConvTranspose2d, (8, 10, 12)),
        ("tconv3-8", (4, 5, 6), nn.ConvTranspose2d, (8, 5, 6)),
        ("pool3/s2", (4, 9, 9), nn.MaxPool2d, (4, 4, 4)),
        ("avgpool2", (4, 6, 6, 6), nn.AvgPool3d, (4, 3, 3, 3)),
        ("gap", (4, 9), nn.AdaptiveAvgPool1d, (4, 1)),
        ("bn", (4,), nn.BatchNorm1d, (4,)),
        ("flatten", (4, 2, 3), nn.Flatten, (24,)),
        ("linear-3", (4,), nn.Linear, (3,)),
        ("lrn", (4, 2, 3), nn.LocalResponseNorm, (4, 2, 3)),
    ],
)
def test_makes_torchs_module(spec: str, shape: tuple[int, ...], module: type, out: tuple[int, ...]) -> None:
    net = build_blocks(spec, shape)
    assert type(net[0]) is module
    assert net(torch.ones(2, *shape)).shape == (2, *out)


def test_names_are_numbered_by_kind() -> None:
    net = build_blocks("(conv3-4 relu)x2 pool2 [conv3-4 relu] gap flatten linear-2", (3, 8, 8))
    assert [name for name, _ in net.named_children()] == [
        "conv1", "relu1", "conv2", "relu2", "pool1", "residual1", "gap1", "flatten1", "linear1",
    ]  # fmt: skip
    assert [name for name, _ in net.get_submodule("residual1.body").named_children()] == ["conv1", "relu1"]


def test_residual_adds_its_input() -> None:
    net = build_blocks("[conv3-4 bn relu conv3-4] relu [relu conv3-8/s2]", (4, 9, 9)).eval()
    x = torch.randn(2, 4, 9, 9)
    before = x.clone()
    same, last = net[0], net[2]
    assert isinstance(same, ResidualBlock)
    middle = torch.relu(same.body(x) + x)
    expected = nn.functional.conv2d(middle.relu(), last.body.conv1.weight, last.body.conv1.bias, 2, 1)
    expected = expected + nn.functional.conv2d(middle, last.shortcut.weight, None, 2)
    torch.testing.assert_close(net(x), expected)
    assert torch.equal(x, before)


def test_the_add_is_the_blocks_own_work() -> None:
    profile = archprof.profile("[conv3-4]", "4x8x8")
    own = next(cost for layer, cost in zip(profile.layers, profile.costs, strict=True) if layer.path == "residual1")
    assert (own.flops, own.activation_elements) == (256, 256)


@given(nets(), st.sampled_from([(12,), (12, 15), (12, 8, 11), (12, 5, 4, 6)]))
@settings(max_examples=150, deadline=None)
def test_every_net_runs_forward_and_backward_or_says_where_it_cannot(net: BlockSpec, shape: tuple[int, ...]) -> None:
    assume(count_layers(net) < 60)
    text = str(net)
    with suppress(UsageError):
        check_runs(build_blocks(text, shape), text, shape)


def check_runs(model: nn.Module, text: str, shape: tuple[int, ...]) -> None:
    grown = math.prod(layer.stride[0] for layer in model.modules() if isinstance(layer, _ConvTransposeNd))
    assume(grown < 100)  # a map that grows twelvefold, again and again, has more elements than there is memory
    totals = archprof.profile(text, "x".join(map(str, shape))).totals
    assert totals.params == sum(p.numel() for p in model.parameters())
    assume(totals.params < 10**6 and totals.activation_bytes["float32"] < 10**7 and totals.macs < 10**9)
    x = torch.randn(3, *shape, requires_grad=True)
    model(x).sum().backward()
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize(
    ("spec", "inputs", "column", "says"),
    [
        ("conv3-64 linear-10", "3x8x8", 9, "put flatten before it"),
        ("flatten conv3-64", "3x8x8", 8, "needs maps"),
        ("relu conv11-64/p0", "3x7x7", 5, "leaves nothing"),
        ("conv3-6/g3", "4x7x7", 0, "3 groups"),
        ("relu [conv3-64 pool2]", "3x7x7", 5, "64x3x3 of 3x7x7"),
        ("[flatten]", "3x7x7", 0, "147 of 3x7x7"),
        ("relu", "2x3x4x5x6", 0, "up to 3 dimensions"),
    ],
)
def test_points_at_the_layer_that_does_not_fit(spec: str, inputs: str, column: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        archprof.profile(spec, inputs)
    pointer = caught.value.given.splitlines()[-1]
    assert pointer.index("^") - 2 == column
    assert says in pointer


def test_needs_an_input_and_names_keep_their_errors() -> None:
    with pytest.raises(UsageError, match="--input"):
        archprof.profile("conv3-64")
    with pytest.raises(UsageError, match="one tensor"):
        archprof.profile("conv3-64", ["3x8x8", "3x8x8"])
    with pytest.raises(UsageError, match="were expected here"):
        archprof.profile("conv3x64", "3x8x8")
    with pytest.raises(UnknownName, match="convnext_tiny"):
        archprof.profile("convnext_tinyy")
    assert archprof.profile("relu conv3-4", "[2,3,8,8]", dtype="float16").dtype == "float16"
