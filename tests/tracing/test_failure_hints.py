"""What is advised when a forward fails. Oracle: torch, which takes what is advised and refuses what was given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.errors import TraceError
from archprof.sources.input_spec import InputSpec
from archprof.tracing.failure_hints import FailedCall, suggest_fix


def hint_of(model: Any, inputs: Any, **options: Any) -> str:
    with pytest.raises(TraceError) as caught:
        archprof.profile(model, inputs, **options)
    return caught.value.hint


FAILURES = {
    "one value per channel": (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)), "3x2x2", "--batch 2", {"train": True}),
    "channels of a batch norm": (nn.BatchNorm2d(8), "3x4x4", "takes 8 channels, and got 3 in 1x3x4x4", {}),
    "an instance norm of one value": (nn.InstanceNorm2d(3), "3x1x1", "larger --input", {"train": True}),
    "an embedding of floats": (nn.Embedding(50, 4), "[1,7]", "--input 'int64[1,7]<50'", {}),
    "channels of a convolution": (nn.Conv2d(3, 4, 3), "1x28x28", "takes 3 channels, and got 1 in 1x1x28x28", {}),
    "a kernel larger than its input": (nn.Conv2d(3, 4, 7), "3x4x4", "spans 7, and of its input 4 are left", {}),
    "a dilated kernel": (nn.Conv1d(3, 4, 3, dilation=4, padding=1), "3x5", "spans 9, and of its input 7", {}),
    "dimensions of a convolution": (nn.Conv2d(3, 4, 3), "[2,2,3,8,8]", "4 dimensions (batch, channels and 2 more)", {}),
    "a batch put in front": (nn.Conv2d(3, 4, 3), "1x3x8x8", "Exact: [1,3,8,8]. Without its batch: 3x8x8", {}),
    "features of a linear layer": (nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), "3x3x3", "takes 12 features", {}),
    "features of a norm": (nn.LayerNorm((3, 4)), "4x3", "tensors that end in 3x4, and got 1x4x3", {}),
    "channels of a group norm": (nn.GroupNorm(2, 8), "6x4", "takes 8 channels, and got 6", {}),
    "features of a recurrent layer": (nn.LSTM(8, 4), "5x7", "takes 8 features, and got 7", {}),
    "floats of another width": (nn.Conv2d(3, 4, 3), "float64:3x8x8", "weights are float32, and it got float64", {}),
    "integers": (nn.Conv2d(3, 4, 3), "int64:3x8x8<9", "takes float32, and got int64", {}),
    "too many inputs": (nn.Linear(4, 4), ("4", "4"), "One --input for each", {}),
    "a name that it does not have": (nn.Linear(4, 4), "mask=4", "One --input for each", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAILURES)
def test_the_hint_is_of_what_failed(kind: str) -> None:
    model, inputs, words, options = FAILURES[kind]
    assert words in hint_of(model, inputs, **options)


@pytest.mark.parametrize(
    ("model", "inputs", "advised", "options"),
    [
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)), "3x2x2", {"batch": 2}, {"train": True}),
        (nn.Embedding(50, 4), "[1,7]", {"inputs": "int64[1,7]<50"}, {}),
        (nn.Conv2d(3, 4, 3), "1x3x8x8", {"inputs": "[1,3,8,8]"}, {}),
        (nn.Conv2d(3, 4, 3), "1x3x8x8", {"inputs": "3x8x8"}, {}),
        (nn.Conv2d(3, 4, 3), "float64:3x8x8", {"dtype": "float64"}, {}),
    ],
)
def test_what_is_advised_does(model: Any, inputs: str, advised: dict[str, Any], options: dict[str, Any]) -> None:
    hint_of(model, inputs, **options)
    archprof.profile(model, **{"inputs": inputs, **options, **advised})


def test_ids_past_the_rows_name_their_number() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 4)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.embed(ids) * self.embed.weight.sum().item()  # on the CPU, where ids are looked up

    assert "This embedding has 50 rows" in hint_of(Asks(), "int64[1,7]>=60<70")


def test_a_shape_without_a_batch_is_not_said_to_have_one() -> None:
    assert "was put in front" not in hint_of(nn.Conv2d(3, 4, 3), "4x8x8")


def test_the_models_own_line_is_named() -> None:
    class Raises(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError("no such thing")

    line = Raises.forward.__code__.co_firstlineno + 1
    assert f"raised in test_failure_hints.py, line {line}." in hint_of(Raises(), (1, 3))


def test_memory_is_not_a_matter_of_the_shape() -> None:
    call = FailedCall(nn.Linear(3, 3), error=MemoryError())
    assert "more memory than there is" in suggest_fix(call)


def test_torchs_words_are_not_read() -> None:
    """The same layer and input give the same hint, whatever the exception says."""
    module, spec = nn.Conv2d(3, 4, 3), archprof.facts.records.TensorSpec((1, 1, 8, 8), "float32")
    arguments = (InputSpec((1, 8, 8), batched=True),)
    hints = {
        suggest_fix(FailedCall(module, (spec,), arguments, 1, kind(words)))
        for kind in (RuntimeError, ValueError)
        for words in ("", "expected 3 channels", "embedding batch norm int64")
    }
    assert len(hints) == 1
