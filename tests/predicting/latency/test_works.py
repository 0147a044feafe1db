"""The kernels of an op, held against hand-worked sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import archprof
from archprof.facts.records import Profile
from archprof.predicting.latency.works import Work, list_works


def trace(module: nn.Module, *shape: int, **options: object) -> Profile:
    return archprof.profile(module, (torch.zeros(*shape),), **options)  # type: ignore[arg-type]


def works_of(profile: Profile, phase: str = "forward") -> list[Work]:
    found = [work for op in profile.ops if op.phase == phase for work in list_works(op.signature)]
    return [work for work in found if work.kind != "view"]


def test_a_linear_layer_is_one_matrix_product() -> None:
    """32 rows of 64 by 64 x 10: 32 * 10 * 64 MACs; it reads 64 * 32 + 64 * 10 + 10 floats."""
    (work,) = works_of(trace(nn.Linear(64, 10), 32, 64))
    assert (work.kind, work.sizes, work.macs) == ("matmul", (1, 32, 10, 64), 20_480)
    assert (work.read, work.written) == (4 * (32 * 64 + 64 * 10 + 10), 4 * 320)


@pytest.mark.parametrize(
    ("layer", "kind", "sizes", "patches"),
    [
        (nn.Conv2d(16, 32, 3, padding=1), "conv", (1, 2 * 64, 32, 144), 2 * 16),
        (nn.Conv2d(16, 32, 3, padding=1, stride=2), "conv", (1, 2 * 16, 32, 144), 0),
        (nn.Conv2d(16, 32, 1), "conv1x1", (1, 2 * 64, 32, 16), 0),
        (nn.Conv2d(16, 16, 3, padding=1, groups=16), "depthwise", (16, 2 * 64, 1, 9), 0),
        (nn.Conv2d(16, 32, 3, padding=1, groups=4), "grouped", (4, 2 * 64, 8, 36), 0),
    ],
)
def test_a_convolution_is_its_implicit_product(
    layer: nn.Module, kind: str, sizes: tuple[int, ...], patches: int
) -> None:
    """Two images of 16 x 8 x 8: m is positions, n channels out of a group, k channels in of a group x window."""
    (work,) = works_of(trace(layer, 2, 16, 8, 8))
    assert (work.kind, work.sizes, work.patches) == (kind, sizes, patches)
    assert work.macs == sizes[0] * sizes[1] * sizes[2] * sizes[3]


def test_the_backward_of_a_convolution_is_two_products() -> None:
    profile = trace(nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 16, 3, padding=1)), 2, 4, 8, 8, train=True)
    works = [work for work in works_of(profile, "backward") if work.macs]
    forward = [work for work in works_of(profile) if work.macs]
    assert [work.kind for work in works] == ["dgrad", "wgrad", "wgrad"]
    assert [work.macs for work in works[:2]] == [forward[1].macs] * 2
    assert works[2].macs == forward[0].macs
    assert works[0].sizes == (1, 128, 8, 144)
    assert works[1].sizes == (1, 72, 16, 128)


def test_classes_by_what_runs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Softmax(1))
    works = works_of(trace(net, 2, 3, 10, 10))
    assert [work.kind for work in works] == ["conv", "norm", "pointwise", "pool", "softmax"]
    assert works[-1].row == 8 * 16
    (norm,) = works_of(trace(nn.LayerNorm(24), 5, 24))
    assert norm.row == 24
    (groups,) = works_of(trace(nn.GroupNorm(2, 8), 2, 8, 4, 4))
    assert (groups.kind, groups.row) == ("group_norm", 0)


def test_batch_norm_reads_its_input_twice_in_training() -> None:
    one, two = (works_of(trace(nn.BatchNorm2d(8), 2, 8, 4, 4, train=train)) for train in (False, True))
    ran = [next(work for work in works if work.kind == "norm") for works in (one, two)]
    assert ran[1].read >= 2 * 4 * 2 * 8 * 16 > ran[0].read


@pytest.mark.parametrize(("dtype", "own"), [("float32", 0), ("float16", 1)])
def test_a_batch_norm_in_training_goes_over_each_channel(dtype: str, own: int) -> None:
    """2 x 4 x 4 elements of each of 8 channels; cuDNN takes no weights in half precision, as under no autocast."""
    profile = trace(nn.Sequential(nn.Identity(), nn.BatchNorm2d(8)), 2, 8, 4, 4, train=True, dtype=dtype)
    works = [work for phase in ("forward", "backward") for work in works_of(profile, phase) if work.kind == "norm"]
    assert [work.sizes for work in works] == [(32, 8, 0, own)] * 2
    (norm,) = works_of(trace(nn.BatchNorm2d(8), 2, 8, 4, 4))
    assert norm.sizes == (0, 0, 0, 0)
    mixed = trace(nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)), 2, 8, 4, 4, train=True, amp="float16")
    (norm,) = (work for work in works_of(mixed) if work.kind == "norm")
    assert (norm.dtype, norm.sizes[3]) == ("float16", 0)


def test_attention_has_its_heads_queries_and_keys() -> None:
    class Attention(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(q, k, k)

    q, k = torch.zeros(2, 3, 5, 16), torch.zeros(2, 3, 7, 16)
    (work,) = works_of(archprof.profile(Attention(), (q, k)))
    assert (work.kind, work.sizes, work.macs) == ("attention", (6, 5, 7, 16), 2 * 6 * 5 * 7 * 16)


def test_what_suits_tensor_cores() -> None:
    assert Work("conv", "float16", sizes=(1, 100, 64, 72), area=9).aligned
    assert Work("conv", "float16", sizes=(1, 100, 64, 27), area=9).aligned  # three channels
    assert not Work("conv", "float16", sizes=(1, 100, 60, 72), area=9).aligned
    assert Work("grouped", "float16", sizes=(4, 100, 32, 72), area=9).aligned
    assert not Work("grouped", "float16", sizes=(4, 100, 24, 72), area=9).aligned
    assert not Work("wgrad", "float16", sizes=(1, 9 * 12, 64, 800), area=9).aligned  # 12 channels come in


@pytest.mark.parametrize(
    ("groups", "width", "out", "is_shared"), [(32, 4, 4, True), (4, 32, 32, True), (2, 64, 64, False),
                                              (10, 16, 16, False), (64, 4, 8, False)],
)  # fmt: skip
def test_groups_share_tiles_in_their_backward(groups: int, width: int, out: int, is_shared: bool) -> None:
    """Those of ResNeXt do; those of RegNet are too wide or fill none, those of SENet-154 have more channels out."""
    to_input = Work("grouped_back", "float16", sizes=(groups, 1000, width, out * 9), area=9)
    to_weight = Work("grouped_back", "float16", sizes=(groups, width * 9, out, 1000), area=9)
    assert to_input.aligned is to_weight.aligned is is_shared


def test_an_interpolation_has_a_thread_per_position_that_goes_over_planes() -> None:
    """As torch's kernels for bilinear and bicubic images; that of the nearest neighbour spreads them over threads."""
    for mode, sizes in (
        ("bilinear", (2 * 5, 6 * 8, 0, 0)),
        ("bicubic", (2 * 5, 6 * 8, 0, 0)),
        ("nearest", (0, 0, 0, 0)),
    ):
        (work,) = works_of(trace(nn.Upsample(scale_factor=2, mode=mode), 2, 5, 3, 4))
        assert (work.kind, work.sizes) == ("gather", sizes)
