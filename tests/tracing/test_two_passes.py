"""The pass on meta and the pass on real tensors, which is for models that need values: they count the same."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import archprof
from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.records import Profile
from archprof.tracing import trace
from archprof.tracing.strategy import TraceStrategy

ROWS = torch.rand(2, 6, 8)
SEEN: list[torch.Tensor] = []


class Runs(nn.Module):
    """A module whose forward is the given function of it and its input."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, x)


def encoder(dropout: float) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)


def packed(m: Any, x: torch.Tensor) -> Any:
    rows = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([6, 4]), batch_first=True)
    return m.inner(rows)[0].data


MODELS: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: Runs(
        lambda m, x: functional.scaled_dot_product_attention(m.inner(x), x, x), inner=nn.Linear(8, 8)
    ),
    "attention with dropout": lambda: encoder(0.1),
    "attention without": lambda: encoder(0.0),
    "attention with weights": lambda: Runs(
        lambda m, x: m.inner(x, x, x)[0], inner=nn.MultiheadAttention(8, 2, dropout=0.1)
    ),
    "a checkpoint": lambda: Runs(lambda m, x: checkpoint(m.inner, x, use_reentrant=False), inner=encoder(0.0)),
    "a decoder": lambda: Runs(lambda m, x: m.inner(x, x), inner=nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)),
    "lstm": lambda: nn.LSTM(8, 4, 2, bidirectional=True, dropout=0.1, batch_first=True),
    "gru": lambda: nn.GRU(8, 4),
    "rnn": lambda: nn.RNN(8, 4, nonlinearity="relu"),
    "dropouts": lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1), nn.AlphaDropout(0.1), nn.Dropout1d(0.1)),
    "norms": lambda: nn.Sequential(nn.LayerNorm(8), nn.GroupNorm(2, 6), nn.InstanceNorm1d(6)),
}


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Profile]:
    """`archprof.profile` that begins on real tensors."""

    def profile(*args: Any, **options: Any) -> Profile:
        with monkeypatch.context() as patched:
            patched.setattr(trace, "TraceStrategy", partial(TraceStrategy, device="cpu"))
            found = archprof.profile(*args, **options)
        assert found.ran.device == "cpu"
        return found

    return profile


def count(profile: Profile) -> dict[str, Any]:
    moved = sum(op.bytes_moved for op in profile.ops)
    return {**dataclasses.asdict(profile.totals), "peak": compute_peak_bytes(profile), "moved": moved}


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("name", MODELS)
def test_both_passes_count_the_same(name: str, train: bool, on_cpu: Callable[..., Profile]) -> None:
    model = MODELS[name]()
    meta = archprof.profile(model, ROWS, train=train)
    assert meta.ran.device == "meta"
    assert count(on_cpu(model, ROWS, train=train)) == count(meta)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_packed_sequence_needs_values_and_is_one_op(kind: Callable[..., nn.Module]) -> None:
    """10 rows of the two sequences, 3 or 4 gates of 4 units, each from 8 inputs and 4 of the state before."""
    profile = archprof.profile(Runs(packed, inner=kind(8, 4, batch_first=True)), ROWS, train=True)
    gates = 4 if kind is nn.LSTM else 3
    assert profile.ran.device == "cpu"
    assert (profile.totals.macs, profile.totals.complete) == (10 * gates * 4 * (8 + 4), True)


@pytest.mark.parametrize("name", ["attention", "attention without", "a checkpoint", "gru"])
def test_real_tensors_get_real_gradients(name: str) -> None:
    """What a model does with the gradient of a tensor, in a hook, may depend on its values."""
    model = MODELS[name]()
    SEEN.clear()

    def forward(m: Any, x: torch.Tensor) -> Any:
        assert float(x.sum()) > 0  # this needs values
        if x.requires_grad:
            x.register_hook(lambda grad: SEEN.append(grad.clone()))
        return m.inner(x)

    inputs = ROWS.clone().requires_grad_()
    results = copy.deepcopy(model)(inputs)
    total = sum(result.sum() for result in (results if isinstance(results, tuple) else (results,)))
    expected = torch.autograd.grad(total, inputs)[0]
    profile = archprof.profile(Runs(forward, inner=model), ROWS.clone().requires_grad_(), train=True)
    assert profile.ran.device == "cpu"
    torch.testing.assert_close(SEEN, [expected])


def test_a_softmax_has_one_truth() -> None:
    """5 a score, by itself or inside attention, where a scale is 1 more; a mask 1, dropout 2."""
    scores = 2 * 6 * 6
    products = 2 * 2 * 2 * 6 * 6 * 8  # two matrix products of 2 FLOPs a multiply-add
    alone = archprof.profile(nn.Softmax(-1), torch.rand(2, 6, 6)).totals.flops
    whole = archprof.profile(Runs(lambda m, x: functional.scaled_dot_product_attention(x, x, x)), ROWS).totals.flops
    assert alone == 5 * scores
    assert whole == products + (5 + 1) * scores
