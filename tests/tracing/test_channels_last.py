"""Convolutions on channels-last tensors: laid out as the kernels of a real device do, which torch's meta leaves out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from archprof.facts.request import PassRequest
from archprof.tracing.ops.shapes import find_shape_rule
from archprof.tracing.ops.shapes.strides import lies_channels_last
from archprof.tracing.profile import profile_model

CONVOLUTION = torch.ops.aten.convolution.default


@pytest.mark.parametrize("kernel", [(8, 8, 3, 3), (8, 8, 1, 1), (8, 1, 3, 3), (8, 8, 3, 3, 3)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("last", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", [5, 1])
def test_a_result_lies_as_on_the_cpu(
    kernel: tuple[int, ...], transposed: bool, last: tuple[bool, bool], size: int
) -> None:
    dims = len(kernel) - 2
    form = torch.channels_last if dims == 2 else torch.channels_last_3d
    given = [torch.randn(2, 8, *[size] * dims), torch.randn(kernel)]
    given = [t.contiguous(memory_format=form) if is_last else t for t, is_last in zip(given, last, strict=True)]
    groups = 8 // kernel[1]
    others = (None, [1] * dims, [kernel[-1] // 2] * dims, [1] * dims, transposed, [0] * dims, groups)
    real = CONVOLUTION(*given, *others)
    rule = find_shape_rule(CONVOLUTION)
    assert rule is not None
    told = rule(*[tensor.to("meta") for tensor in given], *others)
    assert (told.shape, told.dtype) == (real.shape, real.dtype)
    assert lies_channels_last(told.shape, told.stride()) == lies_channels_last(real.shape, real.stride())


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((2, 8, 5, 5), (200, 1, 40, 8)), ((2, 8, 5, 5), (200, 25, 5, 1)), ((2, 8, 1, 1), (8, 1, 8, 8)),
     ((2, 8, 1, 1), (8, 1, 1, 1)), ((2, 1, 5, 5), (25, 1, 5, 1)), ((2, 4, 5, 5), (200, 1, 40, 8)),
     ((2, 8, 5, 5), (0, 1, 0, 0)), ((1, 8, 3, 5, 5), (600, 1, 200, 40, 8))],
)  # fmt: skip
def test_a_layout_is_read_as_torch_reads_it(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """`preserve_format` of an expanded or sliced tensor goes by the same reading."""
    expected = torch._prims_common.suggest_memory_format(torch.empty_strided(shape, strides, device="meta"))
    assert lies_channels_last(shape, strides) == (expected in (torch.channels_last, torch.channels_last_3d))


class Names(TorchDispatchMode):
    """The ops that run, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        self.names.append(str(func).rpartition(".")[0])
        return func(*args, **(kwargs or {}))  # type: ignore[operator]


class Permuted(nn.Module):
    """Normalises over the channels in between, as ConvNeXt does, and pools."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3), nn.LayerNorm(8), nn.Conv2d(8, 8, 3, groups=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return nn.functional.adaptive_avg_pool2d(self.second(x), 1).flatten(1)


def test_ops_behind_a_convolution_are_those_of_a_device() -> None:
    """A pooling to 1 x 1 of a channels-last image has an op more."""
    net, images = Permuted(), torch.randn(2, 3, 8, 8)
    with torch.no_grad(), Names() as real:
        net(images)
    profile = profile_model(net, (2, 3, 8, 8), PassRequest())
    assert "aten.as_strided_" in real.names
    inside = "aten.empty"  # by a kernel of the CPU
    assert [op.name for op in profile.ops] == [name for name in real.names if name != inside]
