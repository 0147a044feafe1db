"""`stack3x3`: same output, same pixels seen, and the figures of the lecture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archprof import whatif
from archprof.rewriting import Rewritten


def seen(model: nn.Module, size: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of what the middle output sees: where its gradient is not 0, all weights being 1."""
    model = model.to_empty(device="cpu") if next(model.parameters()).is_meta else model
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.01)
    image = torch.ones(1, 1, size, size, requires_grad=True)
    output = model(image)
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    assert image.grad is not None
    rows, columns = (torch.nonzero(image.grad[0, 0].sum(dim)).flatten() for dim in (1, 0))
    return int(rows[0]), int(columns[0]), len(rows), len(columns)


@settings(max_examples=15, deadline=None)
@given(
    kernel=st.sampled_from([5, 7, 9, 11]),
    stride=st.integers(1, 5),
    padding=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    size=st.integers(11, 40),
)
def test_stack_has_the_output_shape_and_receptive_field_of_the_convolution(
    kernel: int, stride: int, padding: tuple[int, int], size: int
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, kernel, stride, padding), nn.ReLU())
    rewritten = whatif(model, (1, 1, size, size), stack3x3=True)
    assert rewritten.after.layers[0].outputs == rewritten.before.layers[0].outputs
    kinds = [layer.kind for layer in rewritten.after.layers]
    assert kinds.count("Conv2d") == kinds.count("ReLU") == (kernel - 1) // 2
    far = 60  # padding and borders are out of sight
    same = nn.Sequential(nn.Conv2d(1, 1, kernel, stride, padding), nn.ReLU())
    assert seen(rewritten.model, far) == seen(same, far)
    assert seen(same, far)[2:] == (kernel, kernel)


def lecture(middle: int | None) -> Rewritten:
    model = nn.Sequential(nn.Conv2d(64, 128, 5, padding=2, bias=False), nn.ReLU())
    return whatif(model, "64x32x32", stack3x3=True, middle=middle)


def test_the_lecture_has_3_7_times_fewer_parameters_by_a_narrow_middle() -> None:
    narrow = lecture(32)
    before, after = narrow.before.totals, narrow.after.totals
    assert (before.params, after.params) == (204_800, 55_296)  # rows V1 and V2 of the lecture
    assert before.params / after.params == pytest.approx(3.7037, abs=5e-5)
    assert (before.macs, after.macs) == (204_800 * 32 * 32, 55_296 * 32 * 32)
    assert [change.path for change in narrow.applied] == ["0"]


def test_the_middle_is_as_wide_as_the_output_if_not_given() -> None:
    assert lecture(None).after.totals.params == 9 * (64 * 128 + 128 * 128)


def test_padding_goes_to_the_first_convolutions_and_the_stride_to_the_last() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 11, stride=4, padding=2))
    stack = whatif(model, (1, 3, 64, 64), stack3x3=True).model.get_submodule("0")
    convolutions = [layer for layer in stack.children() if isinstance(layer, nn.Conv2d)]
    assert [layer.padding[0] for layer in convolutions] == [1, 1, 0, 0, 0]
    assert [layer.stride[0] for layer in convolutions] == [1, 1, 1, 1, 4]


def test_the_activation_that_follows_stands_between_behind_a_norm_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.LeakyReLU(0.3))
    stack = whatif(model, (1, 3, 16, 16), stack3x3=True).model.get_submodule("0")
    assert [type(layer).__name__ for layer in stack.children()] == ["Conv2d", "LeakyReLU", "Conv2d"]
    assert stack[1].negative_slope == 0.3


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        (nn.Conv2d(8, 8, 4), "odd"),
        (nn.Conv2d(8, 8, 6), "odd"),
        (nn.Conv2d(8, 8, (1, 7)), "square"),
        (nn.Conv2d(8, 8, 5, dilation=2), "dilation"),
        (nn.Conv2d(8, 8, 5, groups=8), "groups"),
    ],
)
def test_what_cannot_be_stacked_is_refused_with_the_reason(layer: nn.Module, word: str) -> None:
    rewritten = whatif(nn.Sequential(layer), (1, 8, 32, 32), stack3x3=True, middle=12)
    assert not rewritten.applied
    assert [refusal.path for refusal in rewritten.refused] == ["0"]
    assert word in rewritten.refused[0].why
    assert rewritten.after.totals == rewritten.before.totals


def test_groups_are_kept() -> None:
    rewritten = whatif(nn.Sequential(nn.Conv2d(8, 8, 7, groups=8)), (1, 8, 32, 32), stack3x3=True)
    assert rewritten.after.totals.params == 3 * (9 * 8 + 8)


def test_cifar_alexnet_keeps_every_map_between_its_layers() -> None:
    rewritten = whatif("cifar_alexnet_bn", stack3x3=True)
    after = {layer.path: layer.outputs for layer in rewritten.after.layers}
    for layer in rewritten.before.layers:
        if layer.path != "features":
            assert after[layer.path] == layer.outputs
    # 7x7 3->64, 5x5 64->192 and 5x5 192->384 go; three, two and two 3x3 come, each with its bias
    large = (49 * 3 + 1) * 64 + (25 * 64 + 1) * 192 + (25 * 192 + 1) * 384
    small = (27 + 1 + 2 * (576 + 1)) * 64 + (576 + 1 + 1728 + 1) * 192 + (1728 + 1 + 3456 + 1) * 384
    assert rewritten.after.totals.params == rewritten.before.totals.params - large + small
