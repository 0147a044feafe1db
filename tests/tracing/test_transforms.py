"""Models that use torch.func or forward-mode derivatives. Counts by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap
from torch.nn import functional
from tracing.odd import Runs, line

import archprof

pytestmark = pytest.mark.filterwarnings("ignore")

QUERY = torch.rand(5, 2, 3, 7, 4)
"""Five times two sequences, three heads, seven tokens of four."""

ROWS, WIDTH = 5 * 2 * 3 * 7, 4
LINE = ROWS * WIDTH * WIDTH
SCORES = 5 * 2 * 3 * 2 * 7 * 7 * 4
"""MACs of the attention: two products of 7 x 7 x 4 for each head of each sequence."""


def attend(x: torch.Tensor) -> torch.Tensor:
    return functional.scaled_dot_product_attention(x, x, x)


def push(run: Any, x: torch.Tensor) -> torch.Tensor:
    return jvp(run, (x,), (torch.ones_like(x),))[1]


def carry(run: Any, x: torch.Tensor) -> torch.Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(run(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


HEADS = 5 * 2 * (4 * 7 * 16 + 2 * 2 * 7 * 7 * 2)
"""MACs of multi-head attention over the sequences: four projections, and two heads of width 2."""

CASES = {  # and the MACs of the forward
    "vmap of attention": (lambda self, x: vmap(attend)(x), SCORES),
    "vmap of vmap of attention": (lambda self, x: vmap(vmap(attend))(x), SCORES),
    "vmap of a layer and attention": (lambda self, x: vmap(lambda t: attend(self.layer(t)))(x), LINE + SCORES),
    "vmap of multi-head attention": (lambda self, x: vmap(lambda t: self.heads(t, t, t)[0])(x[:, :, 0]), HEADS),
    "gradient of attention": (lambda self, x: grad(lambda t: attend(t).sum())(x), 3 * SCORES),
    "gradient of a layer": (lambda self, x: grad(lambda t: self.layer(t).sum())(x), 2 * LINE),
    "vmap of a gradient": (lambda self, x: vmap(grad(lambda t: self.layer(t).sum()))(x), 2 * LINE),
    "tangent of attention": (lambda self, x: push(attend, x), 3 * SCORES),
    "tangent of attention, by hand": (lambda self, x: carry(attend, x), 3 * SCORES),
    "tangent of a layer": (lambda self, x: push(self.layer, x), 3 * LINE),  # torch multiplies by the weight's, too
    "tangent of a layer, by hand": (lambda self, x: carry(self.layer, x), 3 * LINE),
    "functional_call": (lambda self, x: functional_call(self.layer, dict(self.layer.named_parameters()), (x,)), LINE),
    "Jacobian, forwards": (lambda self, x: jacfwd(self.layer)(x[0, 0, 0, 0]), 16 + 4 * 16 + 16),
    "Jacobian, backwards": (lambda self, x: jacrev(self.layer)(x[0, 0, 0, 0]), 16 + 4 * 16),
}
"""Backwards, attention that is taken apart is four products, for the two of the forward."""


def make(name: str) -> nn.Module:
    return Runs(CASES[name][0], layer=line(), heads=nn.MultiheadAttention(4, 2, batch_first=True))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_transforms(name: str, train: bool) -> None:
    profile = archprof.profile(make(name), QUERY, train=train)
    profile.check()
    assert (profile.totals.macs, profile.totals.complete) == (CASES[name][1], True)
    assert profile.ran.device == "meta"


@pytest.mark.parametrize("train", [False, True])
def test_the_backward_pass_of_a_vmap(train: bool) -> None:
    model = make("vmap of a layer and attention")
    totals = archprof.profile(model, QUERY, train=train).totals
    assert totals.backward_macs == (LINE + 2 * SCORES if train else None)  # the input needs no gradient


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_raises_as_in_torch(kind: Any) -> None:
    model = Runs(lambda self, x: vmap(lambda t: self.layer(t)[0])(x), layer=kind(4, 3))
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        model(torch.rand(5, 6, 2, 4))
    with pytest.raises(archprof.TraceError, match="Batching rule not implemented"):
        archprof.profile(model, torch.rand(5, 6, 2, 4))
