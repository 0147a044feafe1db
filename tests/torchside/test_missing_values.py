"""What wants values is run on real tensors; told by flags of torch's, not by words. Counts by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from tracing.odd import LINE, ROWS, Runs, line

import archprof
from archprof.torchside.missing_values import wants_values


@pytest.fixture
def doubled() -> Iterator[Any]:
    """An operator from outside torch, without a kernel for meta."""

    @torch.library.custom_op("archprof_test::doubled", mutates_args=())
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    yield doubled
    doubled._lib._destroy()


@pytest.mark.parametrize("train", [False, True])
def test_an_operator_without_a_fake_kernel(doubled: Any, train: bool) -> None:
    model = Runs(lambda self, x: doubled(self.layer(x).detach()), layer=line())
    profile = archprof.profile(model, ROWS, train=train)
    assert profile.ran.device == "cpu"
    assert profile.totals.macs == LINE
    assert [op.name for op in profile.ops if op.status == "unknown"] == ["archprof_test.doubled"]
    assert not profile.totals.complete


def fails_over(words: str, kind: type[Exception] = AttributeError) -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.device.type)
        raise kind(words)

    return Runs(run, seen=Seen())


class Seen(list[str]):
    """The devices of what the forward was given: shared by all copies."""

    def __deepcopy__(self, memo: Any) -> Seen:
        return self

    def __reduce__(self) -> Any:
        raise TypeError


@pytest.mark.parametrize("words", ["'NoneType' object has no attribute 'is_meta'", "the metadata is wrong"])
@pytest.mark.parametrize("kind", [AttributeError, ValueError, RuntimeError])
def test_words_decide_nothing(words: str, kind: type[Exception]) -> None:
    model = fails_over(words, kind)
    with pytest.raises(archprof.TraceError, match="meta") as raised:
        archprof.profile(model, ROWS)
    assert raised.value.profile.ran.device == "meta"
    assert set(model.seen) <= {"meta"}


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: x.sum().item(),
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: x.__array__(),
        lambda x: x.__dlpack__(),
        lambda x: torch.repeat_interleave(x, (x[:, 0] > 0).long(), 0),
        lambda x: nn.utils.rnn.pack_padded_sequence(x[None], torch.full((1,), 3, device=x.device), batch_first=True),
    ],
)
def test_values_that_are_asked_for(asks: Any) -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            asks(x)
        except (RuntimeError, TypeError, BufferError) as error:
            raise ValueError("the input does not do") from error  # a model may say it in its own words
        return self.layer(x)

    profile = archprof.profile(Runs(run, layer=line()), ROWS)
    assert (profile.totals.macs, profile.ran.device) == (LINE, "cpu")


def test_an_exception_of_the_models_own() -> None:
    assert not wants_values(ValueError("needs values, said meta"))
