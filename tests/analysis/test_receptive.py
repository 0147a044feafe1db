"""Receptive fields against a published table, against gradients of real passes, and by hand."""

from __future__ import annotations

import csv
import functools
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import archprof
from archprof.analysis.receptive import position_rules
from archprof.analysis.receptive.fields import (
    FieldWalk,
    ReceptiveField,
    compute_fields,
    field_cells,
)
from archprof.analysis.receptive.spans import hull
from archprof.analysis.view import ProfileView

RF = ReceptiveField

ROWS = list(csv.DictReader((Path(__file__).parent.parent / "data" / "receptive_fields.csv").open(encoding="utf-8")))


# The published table: TF-Slim's nets with an input of 224x224


class Same(nn.Module):
    """TensorFlow's "SAME": as much padding as it takes, the odd pixel behind."""

    def __init__(self, module: nn.Module, kernel: int, stride: int) -> None:
        super().__init__()
        self.module, self.kernel, self.stride = module, kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for n in reversed(x.shape[2:]):
            total = max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0)
            pads += [total // 2, total - total // 2]
        return self.module(functional.pad(x, pads))


def same(kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return Same(nn.Conv2d(4, 4, kernel, stride, groups=groups), kernel, stride)


def alexnet_v2() -> nn.Module:
    parts = {
        "conv1": nn.Conv2d(3, 4, 11, 4), "pool1": nn.MaxPool2d(3, 2), "conv2": same(5), "pool2": nn.MaxPool2d(3, 2),
        "conv3": same(3), "conv4": same(3), "conv5": same(3), "pool5": nn.MaxPool2d(3, 2),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(parts))


class Bottleneck(nn.Module):
    """TF-Slim's `resnet_v1.bottleneck`: the stride is in the 3x3, padded alike on both sides; shortcuts subsample."""

    def __init__(self, stride: int, project: bool) -> None:
        super().__init__()
        middle = nn.Conv2d(4, 4, 3, stride, padding=1)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), middle, nn.Conv2d(4, 4, 1))
        self.shortcut = nn.Conv2d(4, 4, 1, stride) if project else nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.body(x))


def resnet_v1(*units: int) -> nn.Module:
    """The stride of a block is that of its last unit; the last block has none."""
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 2, padding=3), Same(nn.MaxPool2d(3, 2), 3, 2))
    for block, count in enumerate(units, start=1):
        strides = [1] * (count - 1) + [1 if block == 4 else 2]
        net.add_module(f"block{block}", nn.Sequential(*(Bottleneck(s, i == 0) for i, s in enumerate(strides))))
    return net


def mobilenet_v1() -> nn.Module:
    net = nn.Sequential()
    net.add_module("Conv2d_0", Same(nn.Conv2d(3, 4, 3, 2), 3, 2))
    for i, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1], start=1):
        net.add_module(f"Conv2d_{i}_depthwise", same(3, stride, groups=4))
        net.add_module(f"Conv2d_{i}_pointwise", nn.Conv2d(4, 4, 1))
    return net


def by_path(model: object) -> dict[str, ReceptiveField]:
    profile = archprof.profile(model, (1, 3, 224, 224))
    return {layer.path: field for layer, field in zip(profile.layers, compute_fields(profile), strict=True)}


def vgg(name: str) -> dict[str, ReceptiveField]:
    """The fields of our VGG under TF-Slim's names, conv<block>/conv<block>_<number> and pool<block>."""
    profile = archprof.profile(name)
    found, block, number = {}, 1, 0
    for layer, field in zip(profile.layers, compute_fields(profile), strict=True):
        if layer.kind == "Conv2d":
            number += 1
            found[f"conv{block}/conv{block}_{number}"] = field
        elif layer.kind == "MaxPool2d":
            found[f"pool{block}"] = field
            block, number = block + 1, 0
    return found


def inception_v3() -> dict[str, ReceptiveField]:
    found = by_path("torchvision:inception_v3")
    return found | {"MaxPool_3a_3x3": found["maxpool1"], "MaxPool_5a_3x3": found["maxpool2"]}


@functools.cache
def like_named(model: str) -> dict[str, ReceptiveField]:
    makers = {
        "alexnet_v2": lambda: by_path(alexnet_v2()),
        "vgg_a": lambda: vgg("vgg_a"),
        "vgg_16": lambda: vgg("vgg_d"),
        "inception_v3": inception_v3,
        "mobilenet_v1": lambda: by_path(mobilenet_v1()),
        "resnet_v1_50": lambda: by_path(resnet_v1(3, 4, 6, 3)),
        "resnet_v1_101": lambda: by_path(resnet_v1(3, 4, 23, 3)),
        "resnet_v1_152": lambda: by_path(resnet_v1(3, 8, 36, 3)),
    }
    return makers[model]()


def test_the_table_is_whole() -> None:
    assert len(ROWS) == 77


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['end_point']}")
def test_published_fields(row: dict[str, str]) -> None:
    field = like_named(row["model"])[row["end_point"]]
    assert field.size == (int(row["size"]),) * 2
    assert field.stride == (int(row["stride"]),) * 2
    assert field.padding == (int(row["padding_at_224"]),) * 2


# Gradients: with positive weights nothing cancels, so what has a gradient is what is seen


def sliding(kind: str, kernel: tuple[int, int], stride: tuple[int, int], pad: bool, dilation: int) -> nn.Module:
    if kind == "pool":
        return nn.AvgPool2d(kernel, stride, tuple(k // 2 for k in kernel) if pad else 0)
    padding = tuple((k - 1) * dilation // 2 for k in kernel) if pad else 0
    if kind == "transposed":
        return nn.ConvTranspose2d(1, 1, kernel, stride, padding, dilation=dilation)
    return nn.Conv2d(1, 1, kernel, stride, padding, dilation=dilation)


class Sum(nn.Module):
    """Residual: the input and what the body makes of it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Concat(nn.Module):
    """Branches side by side as channels, and a pointwise convolution over them."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches, self.mix = nn.ModuleList(branches), nn.Conv2d(len(branches), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat([branch(x) for branch in self.branches], dim=1))


class Down(nn.Module):
    """A path at a lower resolution, brought back to that of the input and added to it."""

    def __init__(self, body: nn.Module, mode: str) -> None:
        super().__init__()
        self.body, self.mode = body, mode

    def forward(self, x: Tensor) -> Tensor:
        low = self.body(functional.avg_pool2d(x, 2))
        return x + functional.interpolate(low, size=x.shape[2:], mode=self.mode)


class Subsample(nn.Module):
    """Every second row and column, and channels of zeros behind: the shortcut of the CIFAR residual nets."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, 1::2], (0, 0, 0, 0, 0, 1))[:, :1]


class Last(nn.Module):
    """Channels last and back, with a norm and a linear layer over channels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.permute(0, 2, 3, 1).flatten(1, 2)).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class Functional(nn.Module):
    """A net in its own forward, by a name that a failure shows."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def extra_repr(self) -> str:
        return self.name

    def forward(self, x: Tensor) -> Tensor:
        return FUNCTIONAL[self.name](x)


def window(x: Tensor, *shape: int) -> Tensor:
    return torch.ones(1, 1, *shape, dtype=x.dtype, device=x.device)


def written(x: Tensor) -> Tensor:
    """Zeros all round, written by hand."""
    y = x.new_zeros(1, 1, x.shape[2] + 3, x.shape[3] + 2)
    y[:, :, 1:-2, 1:-1] = x
    return y


def columns(x: Tensor) -> Tensor:
    """A convolution as a product of matrices."""
    rows = functional.unfold(x, (2, 3), dilation=(2, 1), padding=(0, 1), stride=(1, 2)).sum(1, keepdim=True)
    return rows.view(1, 1, x.shape[2] - 2, -1)


FUNCTIONAL = {
    "max_pool2d": lambda x: functional.lp_pool2d(x, 1, 2),
    "avg_pool2d": lambda x: functional.avg_pool2d(x, (3, 2), 2),
    "conv2d": lambda x: functional.conv2d(x, window(x, 2, 3), dilation=(1, 2)),
    "conv_transpose2d": lambda x: functional.conv_transpose2d(x, window(x, 3, 2), stride=2, dilation=(1, 2)),
    "interpolate": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "antialias": lambda x: functional.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
    "circular": lambda x: functional.pad(x, (1, 2, 0, 3), mode="circular"),
    "reflect": lambda x: functional.pad(x, (1, 2, 0, 3), mode="reflect"),
    "replicate": lambda x: functional.pad(x, (1, 2, 0, 3), mode="replicate"),
    "written": written,
    "roll": lambda x: x + torch.roll(x, (2, -1), (2, 3)),
    "shifted slices": lambda x: x[:, :, 1:] + x[:, :, :-1],
    "unfold": lambda x: x.unfold(2, 3, 2).unfold(3, 2, 1).sum((-1, -2)),
    "columns": columns,
    "norm of channels": lambda x: torch.logsumexp(torch.cat([x, 2 * x], 1) / 1000, 1, keepdim=True),
    "flipped channels": lambda x: torch.stack([x, x], 2).flip(2)[:, :, 1],
    "transform of channels": lambda x: torch.fft.fft(torch.cat([x, x], 1), dim=1).real[:, :1],
    "unshuffled": lambda x: functional.pixel_unshuffle(functional.pad(x, (0, -x.shape[3] % 2, 0, -x.shape[2] % 2)), 2)
    .sum(1, keepdim=True),
}  # fmt: skip

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))
keeping = st.builds(
    lambda k, d: nn.Conv2d(1, 1, k, padding=tuple(d * (n - 1) // 2 for n in k), dilation=d),
    st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3])),
    st.integers(1, 2),
)
steps = st.tuples(st.integers(1, 3), st.integers(1, 3))
layers = st.one_of(
    st.builds(sliding, st.sampled_from(["conv", "pool"]), sizes, steps, st.booleans(), st.integers(1, 2)),
    st.builds(
        sliding,
        st.just("transposed"),
        sizes,
        st.tuples(st.integers(1, 2), st.integers(1, 2)),
        st.just(False),
        st.integers(1, 2),
    ),
    st.builds(Sum, keeping),
    st.builds(Concat, st.lists(keeping, min_size=2, max_size=3)),
    st.builds(Down, keeping, st.sampled_from(["nearest", "bilinear"])),
    st.builds(
        lambda mode: nn.Upsample(scale_factor=2, mode=mode), st.sampled_from(["nearest", "bilinear", "nearest-exact"])
    ),
    st.builds(lambda: nn.Upsample(scale_factor=1.5, mode="bilinear")),
    st.builds(Subsample),
    st.builds(Last),
    st.builds(nn.PixelShuffle, st.just(1)),
    st.builds(Functional, st.sampled_from([*FUNCTIONAL])),
)
nets = st.lists(layers, min_size=1, max_size=4).map(lambda parts: nn.Sequential(*parts).double())


SIZE = 96


def one_sees(y: Tensor, x: Tensor, dim: int, at: int) -> tuple[int, int] | None:
    """First and last input position along a dimension that have a gradient from output position `at`."""
    (gradient,) = torch.autograd.grad(y.select(dim, at).sum(), x, retain_graph=True)
    hit = gradient.sum([other for other in range(x.dim()) if other != dim]).nonzero().flatten()
    return (int(hit.min()), int(hit.max())) if len(hit) else None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(nets)
def test_fields_are_the_extent_of_gradients(net: nn.Sequential) -> None:
    assume(agrees_with_gradients(net))


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 1, 2), Down(nn.Conv2d(1, 1, 3, padding=1), "bilinear")),  # 47 -> 95: strides differ
        nn.Sequential(nn.Conv2d(1, 1, 4), Down(nn.Identity(), "nearest"), nn.Conv2d(1, 1, 3, 2)),
        nn.UpsamplingBilinear2d(scale_factor=2),  # corners on corners
        nn.Sequential(
            nn.AvgPool2d(2), nn.Upsample(size=(95, 142), mode="bilinear", align_corners=True)
        ),  # on positions
        nn.Sequential(nn.Upsample(scale_factor=3, mode="bilinear"), nn.AvgPool2d(2)),  # the middle one on a position
        nn.Sequential(nn.Conv2d(1, 1, 3), Subsample()),
        nn.ConvTranspose2d(1, 1, 2, 3),  # gaps
        nn.ConvTranspose2d(1, 1, 5, 2, 2, output_padding=1, dilation=3),
        *(nn.Sequential(Functional(name), nn.Conv2d(1, 1, 3)) for name in FUNCTIONAL),
        nn.Conv2d(1, 1, 3, padding=(2, 1), padding_mode="circular"),
    ],
    ids=str,
)
def test_chosen_fields_are_the_extent_of_gradients(net: nn.Module) -> None:
    assert agrees_with_gradients(nn.Sequential(net).double())


def agrees_with_gradients(net: nn.Sequential) -> bool:
    """Every position round the middle sees exactly its interval, and the field sums those up.

    False where there is no such position: all see over the border, where padding cuts off what they see, or the
    gaps of a transposed convolution are all that a later step picks along the other dimension.
    """
    walk = FieldWalk(archprof.profile(net, torch.zeros(1, 1, SIZE, SIZE, dtype=torch.float64)))
    spans, field = walk.spans(0), walk.field(0)
    assert len(spans) == 2
    assert field.size
    assert field.stride
    assert field.padding
    for parameter in net.parameters():
        nn.init.constant_(parameter, 1.0)
    x = torch.ones(1, 1, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    y = net(x)
    if not torch.autograd.grad(y.sum(), x, retain_graph=True)[0].any():
        return False
    for dim, span in enumerate(spans):
        middle, phases = y.shape[2 + dim] // 2, len(span.intervals)
        reach = min(phases, 20)
        around = range(middle - (reach + 1) // 2, middle + reach // 2 + 2)
        low, high = hull(map(span.interval_at, around)) or (0, 0)
        if around[0] < 0 or around[-1] >= y.shape[2 + dim] or low <= 0 or high >= SIZE - 1:
            return False
        extents = {at: one_sees(y, x, 2 + dim, at) for at in around}
        assert extents == {at: span.interval_at(at) for at in around}
        found = [(at, *extent) for at, extent in extents.items() if extent]
        widest_seen = max((last - first + 1 for _, first, last in found), default=0)
        assert widest_seen == field.size[dim] if reach == phases else widest_seen <= field.size[dim]
        if phases == 1:
            assert {at * field.stride[dim] - first for at, first, _ in found} == {field.padding[dim]}
    return True


# By hand


def field_of(net: nn.Module, *shape: int) -> ReceptiveField:
    return compute_fields(archprof.profile(net, shape or (1, 4, 32, 32)))[0]


def conv(kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(4, 4, kernel, **options)


@pytest.mark.parametrize(("count", "size"), [(2, 5), (3, 7)])
def test_a_stack_of_3x3_sees_what_one_larger_kernel_sees(count: int, size: int) -> None:
    """Rows V3 and V4 of the lectures."""
    stack = field_of(nn.Sequential(*(conv(padding=1) for _ in range(count))))
    assert stack == field_of(conv(size, padding=size // 2))
    assert stack == RF((size, size), (1, 1), (size // 2, size // 2))


class Words(nn.Module):
    """A convolution over word vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.conv = nn.Embedding(9, 4), nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.conv(self.embedding(ids).transpose(1, 2))


@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (nn.Sequential(nn.Conv1d(2, 2, 5, 2), nn.MaxPool1d(3)), (1, 2, 64), RF((9,), (6,), (0,))),
        (nn.Conv3d(1, 1, (3, 5, 7), (1, 2, 3), (1, 0, 0)), (1, 1, 9, 20, 30), RF((3, 5, 7), (1, 2, 3), (1, 0, 0))),
        (nn.ConvTranspose2d(4, 4, 2, 2), (1, 4, 8, 8), RF((1, 1), (0.5, 0.5), (0.25, 0.25))),
        (nn.Sequential(conv(2, stride=2), nn.PixelShuffle(2)), (1, 4, 8, 8), RF((2, 2), (1, 1), (0.5, 0.5))),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 1)), (1, 1, 8, 8), RF((2, 2), (2, 2), (0, 0))),
        (nn.Sequential(nn.ReflectionPad2d((3, 0, 1, 0)), conv()), (1, 4, 8, 8), RF((3, 3), (1, 1), (1, 3))),
        (nn.Sequential(conv(), nn.AdaptiveAvgPool2d(2)), (1, 4, 10, 6), RF((6, 4), (4, 2), (0, 0))),
        (
            nn.Sequential(conv(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(4, 2)),
            (1, 4, 10, 10),
            RF((10, 10), (8, 8), (0, 0)),
        ),
        (nn.Sequential(conv(padding=1), nn.LocalResponseNorm(2)), (1, 4, 8, 8), RF((3, 3), (1, 1), (1, 1))),
        (Words(), (1, 16), RF((3,), (1,), (1,))),
        (nn.Sequential(nn.Conv1d(2, 2, 5, padding=2, padding_mode="circular"), nn.MaxPool1d(2)), (1, 2, 32),
         RF((6,), (2,), (2,))),
        (nn.Conv3d(1, 1, 3, padding=1, padding_mode="circular"), (1, 1, 6, 7, 8), RF((3,) * 3, (1,) * 3, (1,) * 3)),
    ],
)  # fmt: skip
def test_other_shapes_of_nets(net: nn.Module, shape: tuple[int, ...], expected: ReceptiveField) -> None:
    inputs = f"int64[{','.join(map(str, shape))}]<9" if len(shape) == 2 else shape
    assert compute_fields(archprof.profile(net, inputs))[0] == expected


class Gate(nn.Module):
    """Squeeze-and-excitation without its reduction."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), conv(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(self.pool(x)))


class Product(nn.Module):
    """Attention written out by hand."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


class Crooked(nn.Module):
    """A branch that is centred one pixel beside the other."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 2:, 1:-1] + functional.avg_pool2d(x, 3, 1)


@pytest.mark.parametrize(
    ("net", "reason", "local"),
    [
        (Gate(), "global average pooling in 1.pool", (3, 3)),
        (nn.GroupNorm(2, 4), "group norm over positions in 1", (3, 3)),
        (nn.InstanceNorm2d(4), "group norm over positions in 1", (3, 3)),
        (nn.LayerNorm((4, 30, 30)), "layer norm over positions in 1", (3, 3)),
        (nn.Sequential(nn.Flatten(), nn.Linear(3600, 2)), "linear layer over positions in 1.1", None),
        (nn.AdaptiveMaxPool2d(1), "global max pooling in 1", None),
        (Product(), "product of positions with positions in 1", (3, 3)),
        (Attention(), "attention in 1.attention", None),
    ],
)
def test_what_sees_everything_has_no_size_and_says_why(net: nn.Module, reason: str, local: object) -> None:
    field = field_of(nn.Sequential(conv(), net))
    assert (field.size, field.stride, field.padding) == (None, None, None)
    assert (field.reason, field.local) == (reason, local)


def test_paths_beside_each_other_are_marked() -> None:
    assert field_of(Crooked()) == RF((3, 3), (1, 1), (0, 0), aligned=False)
    assert field_of(Sum(conv(padding=1))).aligned


def test_channels_last_input() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.permute(0, 3, 1, 2))

    assert field_of(Net(), 1, 31, 21, 4) == RF((3, 3), (2, 2), (0, 0))


def test_a_tensor_written_in_parts_is_not_followed() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.new_zeros(1, 8, 30, 30)
            y[:, :4] = functional.avg_pool2d(x, 3, 1)
            return y * 2

    assert field_of(Net()).reason == "aten.copy_ into a part in the model itself"


def test_each_call_of_a_module_has_its_own_field() -> None:
    shared = conv(padding=1)
    found = compute_fields(archprof.profile(nn.Sequential(shared, nn.ReLU(), shared), (1, 4, 9, 9)))
    assert [field.size for field in found] == [(5, 5), (3, 3), (3, 3), (5, 5)]


def test_a_net_without_positions_has_no_field() -> None:
    assert field_of(nn.Linear(4, 4), 1, 4).reason == "no window slides over the input"


def test_the_widest_before_everything_is_seen() -> None:
    view = ProfileView(archprof.profile("vgg_d"))
    assert view.field == 212
    seen = zip(view.profile.layers, view.fields, strict=True)
    assert "MaxPool2d" in [layer.kind for layer, field in seen if field.size == (212, 212)]


class Pooled(nn.Module):
    """A pool that is no module, before everything is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4 * 14 * 14, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.max_pool2d(self.b(self.a(x)), 2).flatten(1))


def test_the_widest_field_may_be_that_of_an_op_of_the_model_itself() -> None:
    """Two 3x3 convolutions see 5 pixels, and a pool of 2x2 behind them 6."""
    view = ProfileView(archprof.profile(Pooled(), (1, 3, 32, 32)))
    assert [field.size for field in view.fields] == [None, (3, 3), (5, 5), None]
    assert view.field == 6


def test_a_tensor_that_is_written_before_it_is_returned() -> None:
    assert field_of(nn.Sequential(nn.Conv2d(1, 1, 3), Functional("written")), 1, 1, 8, 8) == RF((3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize("back", [nn.Fold((8, 8), 2, stride=2), nn.PixelShuffle(2)])
def test_positions_as_channels_and_back_are_not_followed(back: nn.Module) -> None:
    """Each goes where it came from, which nobody sees who takes the channels together."""
    there = nn.Unfold(2, stride=2) if isinstance(back, nn.Fold) else nn.PixelUnshuffle(2)
    field = field_of(nn.Sequential(there, back), 1, 1, 8, 8)
    assert (field.size, field.reason) == (None, "positions taken as channels and back in 1")


def test_a_saved_profile_has_the_same_fields(tmp_path: Path) -> None:
    profile = archprof.profile("resnet20_cifar")
    profile.save(tmp_path / "x.json")
    assert compute_fields(archprof.load(tmp_path / "x.json")) == compute_fields(profile)


def test_training_changes_no_field() -> None:
    assert compute_fields(archprof.profile("resnet20_cifar", train=True)) == compute_fields(
        archprof.profile("resnet20_cifar")
    )


def test_cells() -> None:
    assert field_cells(RF((3, 3), (0.5, 0.5), (1, 0))) == {
        "rf": "3",
        "rf_stride": "0.5",
        "rf_padding": "1x0",
    }
    assert field_cells(ReceptiveField(reason="x")) == {"rf": None, "rf_stride": None, "rf_padding": None}


@pytest.mark.parametrize("name", position_rules.ELEMENTWISE_OPS.split())
def test_torch_too_calls_these_ops_elementwise(name: str) -> None:
    if name == "leaky_relu" and torch.__version__ < "2.14":
        pytest.skip("torch forgot the tag of this one")
    packet = getattr(torch.ops.aten, name)
    assert any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads())


@pytest.mark.parametrize("name", list(position_rules.POSITION_RULES))
def test_every_op_that_is_followed_exists(name: str) -> None:
    assert hasattr(torch.ops.aten, name.removeprefix("aten."))
