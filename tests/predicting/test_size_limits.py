"""Sizes that kernels refuse on CUDA, at the last that they take and the next."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import archprof
from archprof.predicting.devices import resolve_device
from archprof.predicting.memory_capacity import judge, judge_size
from archprof.predicting.size_limits import find_refusal
from archprof.predicting.workspaces import choose_workspaces
from archprof.sweeping.fit import fit_to_budgets


class Attention(nn.Module):
    def __init__(self, *, masked: bool = False) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = x.new_zeros(x.shape[-2], x.shape[-2]) if self.masked else None
        return functional.scaled_dot_product_attention(x, x, x, mask)


def refuses(net: nn.Module, shape: str) -> bool:
    return find_refusal(archprof.profile(net, shape)) is not None


@pytest.mark.parametrize(
    ("net", "taken", "refused"),
    [
        (Attention(), "float16[65535,2,4,8]", "float16[65536,2,4,8]"),
        (Attention(), "float16[2,65535,4,8]", "float16[2,65536,4,8]"),
        (Attention(masked=True), "float16[2,65535,4,8]", "float16[2,65536,4,8]"),
        (nn.AvgPool2d(2), "[1,1,65536,131068]", "[1,1,65536,131072]"),
        (nn.ReflectionPad2d(1), "[1,1,32768,65535]", "[1,1,32768,65536]"),
        (nn.ReflectionPad1d(1), "[1,32768,65535]", "[1,32768,65536]"),
    ],
    ids=["sequences", "heads", "heads with a mask", "pooling", "padding", "padding in one dimension"],
)
def test_what_a_kernel_takes_and_what_not(net: nn.Module, taken: str, refused: str) -> None:
    assert not refuses(net, taken)
    assert refuses(net, refused)


def test_the_efficient_kernel_takes_batches_in_parts() -> None:
    assert not refuses(Attention(masked=True), "float16[65536,2,4,8]")
    assert not refuses(Attention(), "float32[65536,2,4,8]")


def test_the_plain_kernel_takes_all() -> None:
    assert not refuses(Attention(), "float16[65536,70000,1,1,8]")


def test_what_is_refused_is_said() -> None:
    net = nn.Sequential(nn.ReLU(), nn.AvgPool2d(2))
    answer = archprof.predict_memory(net, "[1,1,65536,131072]", device="h200")
    assert answer.verdict is not None
    assert answer.verdict.word == "does not run"
    assert "aten.avg_pool2d of 1 has 2,147,483,648 elements of result; its kernel" in str(answer).replace("\n  ", " ")
    assert '"refused": "aten.avg_pool2d of 1 has' in answer.to_json()


def test_it_is_judged_before_memory_is() -> None:
    """Of what needs next to nothing, and would fit."""
    prediction = archprof.predict_memory(Attention(), "float16[65536,1,1,8]").prediction
    device = resolve_device("h200")
    assert judge_size(prediction.needed_bytes, device).word == "fits"
    assert judge(prediction, device).word == "does not run"


class Windows(nn.Module):
    """Attention in 64 windows an image, as davit has it at 224 x 224."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(*(x.half().reshape(-1, 1, 1, 8),) * 3)


def test_a_profile_without_layouts_has_no_known_limit() -> None:
    """As files of the first schema: nothing is borrowed, either."""
    profile = archprof.profile(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(2)), "float16[1,3,4,4]", dtype="float16")
    bare = [op._replace(signature=op.signature._replace(inputs=(), outputs=())) for op in profile.ops]
    assert find_refusal(replace(profile, ops=tuple(bare))) is None
    assert [choose_workspaces(None).lend(op) for op in bare] == [()] * len(bare)


def test_fit_ends_at_the_last_batch_that_runs() -> None:
    """64 windows each: 1,023 images have 65,472 and 1,024 have 65,536. Few settings are traced."""
    fit = fit_to_budgets(Windows(), inputs="64x8", over="batch", device="h200")
    assert fit.found is not None
    assert fit.above is not None
    assert (fit.found.value, fit.above.value) == (1023, 1024)
    assert "65,536 sequences" in str(fit.above.problem)
    assert fit.tried < 40


def test_the_largest_batch_of_each_device_runs() -> None:
    answer = archprof.predict_memory(Windows(), "64x8", device="all")
    assert answer.devices is not None
    assert max(one.largest.batch for one in answer.devices if one.largest is not None) == 1023
