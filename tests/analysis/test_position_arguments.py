"""The rules of positions read arguments of ops: a trace has written down every one of them, as torch dispatched it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import archprof
from archprof.analysis.receptive.position_rules import POSITION_RULES

READING_WORDS = ("op.args", "step.arg(", "step.dim(", "follow_reduction(", "follow_chosen(", "select_position(")
"""How a rule reads an argument in its source, by itself or by the rule that it hands over to."""

READERS = [
    name for name, rule in POSITION_RULES.items() if any(words in inspect.getsource(rule) for words in READING_WORDS)
]

LINE, PLANE, SPACE = (1, 4, 6), (1, 4, 6, 6), (1, 4, 6, 6, 6)
BY_RANK = {1: LINE, 2: PLANE, 3: SPACE}

Sample = tuple[tuple[int, ...], Callable[[torch.Tensor], Any]]

SAMPLES: dict[str, Sample] = {
    "cat": (PLANE, lambda x: torch.cat([x, x], 2)),
    "stack": (PLANE, lambda x: torch.stack([x, x], 2)),
    "pixel_shuffle": (PLANE, lambda x: functional.pixel_shuffle(x, 2)),
    "pixel_unshuffle": (PLANE, lambda x: functional.pixel_unshuffle(x, 3)),
    "constant_pad_nd": (PLANE, lambda x: functional.pad(x, (1, 2, 3, 0))),
    "slice": (PLANE, lambda x: x[:, :, 1:5:2]),
    "select": (PLANE, lambda x: x[:, :, 3]),
    "unbind": (PLANE, lambda x: x.unbind(2)),
    "split": (PLANE, lambda x: x.split(4, 2)),
    "split_with_sizes": (PLANE, lambda x: x.split([1, 5], 3)),
    "permute": (PLANE, lambda x: x.permute(0, 2, 3, 1)),
    "transpose": (PLANE, lambda x: x.transpose(1, 3)),
    "t": ((4, 6), lambda x: x.t()),
    "unsqueeze": (PLANE, lambda x: x.unsqueeze(2)),
    "squeeze": (PLANE, lambda x: x.squeeze(0)),
    "mean": (PLANE, lambda x: x.mean((2, 3), keepdim=True)),
    "sum": (PLANE, lambda x: x.sum(2)),
    "amax": (PLANE, lambda x: x.amax((2, 3))),
    "amin": (PLANE, lambda x: x.amin(1)),
    "var": (PLANE, lambda x: x.var((2, 3))),
    "std": (PLANE, lambda x: x.std(3)),
    "prod": (PLANE, lambda x: x.prod(1, keepdim=True)),
    "logsumexp": (PLANE, lambda x: x.logsumexp((1, 2))),
    "max": (PLANE, lambda x: x.max(1, keepdim=True)),
    "min": (PLANE, lambda x: x.min(2)),
    "any": (PLANE, lambda x: x.any(1)),
    "all": (PLANE, lambda x: x.all(2, keepdim=True)),
    "argmax": (PLANE, lambda x: x.argmax(1)),
    "argmin": (PLANE, lambda x: x.argmin(-1, keepdim=True)),
    "var_mean": (PLANE, lambda x: torch.var_mean(x, (1, 2))),
    "std_mean": (PLANE, lambda x: torch.std_mean(x, 1)),
    "median": (PLANE, lambda x: x.median(1)),
    "cumprod": (PLANE, lambda x: x.cumprod(2)),
    "logcumsumexp": (PLANE, lambda x: x.logcumsumexp(1)),
    "sort": (PLANE, lambda x: x.sort(1)),
    "flip": (PLANE, lambda x: x.flip(1, 2)),
    "topk": (PLANE, lambda x: x.topk(2, 1)),
    "_fft_r2c": (PLANE, lambda x: torch.fft.rfft2(x)),
    "_fft_c2c": (PLANE, lambda x: torch.fft.fft(torch.fft.fft(x, dim=1), dim=2)),
    "_fft_c2r": (PLANE, lambda x: torch.fft.irfft(x.to(torch.complex64), dim=1)),
    "roll": (PLANE, lambda x: x.roll((1, -2), (2, 3))),
    "unfold": (PLANE, lambda x: x.unfold(2, 3, 2)),
    "im2col": (PLANE, lambda x: functional.unfold(x, 3, 1, (1, 0), 2)),
    "col2im": ((1, 16, 9), lambda x: functional.fold(x, (6, 6), 2, stride=2)),
    "linalg_vector_norm": (PLANE, lambda x: torch.linalg.vector_norm(x, 2, (2, 3))),
    "_softmax": (PLANE, lambda x: x.softmax(2)),
    "_log_softmax": (PLANE, lambda x: x.log_softmax(1)),
    "_safe_softmax": (PLANE, lambda x: torch.ops.aten._safe_softmax(x, -1)),
    "cumsum": (PLANE, lambda x: x.cumsum(2)),
    "native_layer_norm": (PLANE, lambda x: functional.layer_norm(x, (6, 6))),
    "upsample_linear1d": (LINE, lambda x: functional.interpolate(x, scale_factor=1.5, mode="linear")),
    "upsample_bilinear2d": (PLANE, lambda x: functional.interpolate(x, (9, 12), mode="bilinear", align_corners=True)),
    "upsample_trilinear3d": (SPACE, lambda x: functional.interpolate(x, scale_factor=2.0, mode="trilinear")),
    "upsample_bicubic2d": (PLANE, lambda x: functional.interpolate(x, scale_factor=1.5, mode="bicubic")),
}
for _kind in ("bilinear", "bicubic"):
    SAMPLES[f"_upsample_{_kind}2d_aa"] = (
        PLANE, lambda x, mode=_kind: functional.interpolate(x, scale_factor=0.5, mode=mode, antialias=True),
    )  # fmt: skip
for _rank, _shape in BY_RANK.items():
    for _name, _mode in (
        (f"upsample_nearest{_rank}d", "nearest"),
        (f"_upsample_nearest_exact{_rank}d", "nearest-exact"),
    ):
        SAMPLES[_name] = (_shape, lambda x, mode=_mode: functional.interpolate(x, scale_factor=1.5, mode=mode))
    for _kind, _mode in (("reflection", "reflect"), ("replication", "replicate")):
        SAMPLES[f"{_kind}_pad{_rank}d"] = (
            _shape, lambda x, mode=_mode, n=_rank: functional.pad(x, (1, 2) * n, mode=mode),
        )  # fmt: skip


class Listening(TorchDispatchMode):
    """Keeps the arguments of one op."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.heard = name, list[tuple[Any, ...]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func).rpartition(".")[0] == f"aten.{self.name}":
            self.heard.append(plain(args))
        return func(*args, **(kwargs or {}))


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return "<tensor>" if isinstance(value, torch.Tensor) else value


class Forward(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def test_every_rule_that_reads_an_argument_has_a_sample() -> None:
    assert {name.removeprefix("aten.") for name in READERS} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_arguments_that_a_rule_reads_are_there(name: str) -> None:
    shape, function = SAMPLES[name]
    with torch.no_grad(), Listening(name) as torchs:
        function(torch.zeros(shape))
    ours = [op.args for op in archprof.profile(Forward(function), torch.zeros(shape)).ops if op.name == f"aten.{name}"]
    assert torchs.heard
    assert ours == torchs.heard
