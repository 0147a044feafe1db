"""`flex_attention`: the scores of the blocks that its mask leaves. Counts by hand, and by torch's own formula where
there is no mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.flop_counter import flop_registry
from tracing.odd import Runs

import archprof
from archprof.analysis.other_tools import flop_counter
from archprof.analysis.other_tools.tool_view import ToolView
from archprof.facts.records import Op

pytestmark = pytest.mark.filterwarnings("ignore")

TOKENS = torch.rand(1, 2, 128, 16)
LONG = torch.rand(1, 2, 512, 16)
SCORES = 2 * 128 * 128
BLOCK = 2 * 128 * 128
"""Scores of one block, in both heads."""


def causal(b: Any, h: Any, query: Any, key: Any) -> Any:
    return query >= key


def make_causal(length: int, device: Any = "cpu", size: int = 128) -> BlockMask:
    return create_block_mask(causal, None, None, length, length, device=device, BLOCK_SIZE=size)


def attention_ops(profile: archprof.Profile, phase: str = "forward") -> list[Op]:
    return [op for op in profile.ops if "flex_attention" in op.name and op.phase == phase]


def shift(score: Any, b: Any, h: Any, query: Any, key: Any) -> Any:
    return score + 0.1 * (query - key)


def test_without_a_mask_by_torchs_formula() -> None:
    profile = archprof.profile(Runs(lambda self, q: flex_attention(q, q, q)), TOKENS)
    formula = flop_registry[torch.ops.higher_order.flex_attention]
    assert profile.totals.macs == formula(TOKENS, TOKENS, TOKENS) // 2 == SCORES * 32
    assert profile.totals.flops == 2 * profile.totals.macs + 6 * SCORES  # scale, and 5 of the softmax
    assert profile.totals.complete
    assert (profile.ran.device, profile.notes) == ("meta", ())


def test_what_changes_a_score_costs_its_ops() -> None:
    plain, shifted = (
        archprof.profile(Runs(lambda self, q, mod=mod: flex_attention(q, q, q, score_mod=mod)), TOKENS)
        for mod in (None, shift)
    )
    assert shifted.totals.macs == plain.totals.macs
    assert shifted.totals.flops - plain.totals.flops == 2 * SCORES  # a product with 0.1 and a sum; integers are free


MASKS: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "made before": (lambda self, q: self.mask, 10),
    "made in forward": (lambda self, q: make_causal(512, q.device), 10),
    "smaller blocks": (lambda self, q: make_causal(512, q.device, 256), 12),  # 3 of 4 blocks of four times the size
    "a mask of a window": (
        lambda self, q: create_block_mask(
            lambda b, h, i, j: (i >= j) & (i - j < 128), None, None, 512, 512, device=q.device
        ),
        7,
    ),
    "a mask for each head": (
        lambda self, q: create_block_mask(
            lambda b, h, i, j: (i >= j) | (h == 0), None, 2, 512, 512, device=q.device
        ),
        13,
    ),
}  # fmt: skip
"""And how many of 16 blocks run, on the average of the heads."""


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_the_blocks_that_run(name: str, compiled: bool) -> None:
    make, blocks = MASKS[name]
    attend: Any = torch.compile(flex_attention) if compiled else flex_attention
    model = Runs(lambda self, q: attend(q, q, q, block_mask=make(self, q)))
    model.mask = make_causal(512)
    profile = archprof.profile(model, LONG)
    profile.check()
    assert (profile.totals.macs, profile.totals.complete) == (blocks * BLOCK * 32, True)


def test_a_mask_is_asked_of_each_score_in_blocks_that_it_cuts() -> None:
    model = Runs(lambda self, q: flex_attention(q, q, q, block_mask=self.mask))
    model.mask = make_causal(512)
    (op,) = attention_ops(archprof.profile(model, LONG))
    assert op.flops == 2 * 10 * BLOCK * 32 + 10 * BLOCK * 6 + 4 * BLOCK  # of the 10 blocks 4 are on the diagonal


def test_the_last_block_may_be_cut() -> None:
    model = Runs(lambda self, q: flex_attention(q, q, q, block_mask=self.mask))
    model.mask = make_causal(200)
    profile = archprof.profile(model, torch.rand(3, 2, 200, 16))
    assert profile.totals.macs == 3 * 2 * (128 * 128 + 72 * 200) * 32


def test_a_mask_without_values_is_counted_whole() -> None:
    model = Runs(lambda self, q: flex_attention(q, q, q, block_mask=self.mask))
    model.mask = make_causal(512).to("meta")
    profile = archprof.profile(model, LONG)
    assert profile.totals.macs == 16 * BLOCK * 32
    assert any("all its scores are counted" in note for note in profile.notes)


def test_grouped_queries() -> None:
    model = Runs(lambda self, q, k: flex_attention(q, k, k, enable_gqa=True))
    profile = archprof.profile(model, (torch.rand(1, 4, 128, 16), torch.rand(1, 2, 128, 16)))
    assert profile.totals.macs == 4 * 128 * 128 * 32


def test_what_it_returns() -> None:
    def run(self: Any, q: torch.Tensor) -> Any:
        out, sums = flex_attention(q, q, q, return_lse=True)
        return out.transpose(1, 2).flatten(2), sums

    profile = archprof.profile(Runs(run), TOKENS)
    assert [spec.shape for spec in profile.layers[0].outputs] == [(1, 128, 32), (1, 2, 128)]


class Biased(nn.Module):
    """A bias by head that is learned, in the function of a score."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.bias = nn.Linear(16, 16, bias=False), nn.Parameter(torch.rand(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.line(x)
        out: torch.Tensor = flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + self.bias[h])
        return out


def test_its_backward_pass() -> None:
    profile = archprof.profile(Biased(), TOKENS, train=True)
    profile.check()
    (op,) = attention_ops(profile, "backward")
    formula = flop_registry[torch.ops.higher_order.flex_attention_backward]
    by_torch = formula(TOKENS, TOKENS, TOKENS, TOKENS, None, TOKENS)
    assert op.macs == by_torch // 2 == SCORES * 5 * 16
    assert profile.totals.backward_macs == SCORES * 5 * 16 + 256 * 16 * 16  # and the gradient of the line's weight
    gradients = [storage for storage in profile.storages if storage.role == "gradient"]
    assert sorted(storage.nbytes for storage in gradients) == [8, 1024]  # the bias has one, too


def test_on_real_tensors() -> None:
    class Asks(Biased):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * int((x > -1).all())

    for train in (False, True):
        profile = archprof.profile(Asks(), TOKENS, train=train)
        assert (profile.ran.device, profile.totals.macs) == ("cpu", SCORES * 32 + 256 * 16 * 16)


def slope(self: Any, x: torch.Tensor) -> torch.Tensor:
    q = self.line(x)
    return torch.autograd.grad(flex_attention(q, q, q).sum(), q, create_graph=True)[0]


def test_its_gradient_in_a_forward() -> None:
    totals = archprof.profile(Runs(slope, line=nn.Linear(16, 16)), TOKENS).totals
    assert totals.macs == 256 * 16 * 16 + SCORES * 32 + SCORES * 5 * 16


def test_it_has_no_second_gradient() -> None:
    with pytest.raises(archprof.TraceError, match="gradient of the gradient"):
        archprof.profile(Runs(slope, line=nn.Linear(16, 16)), TOKENS, train=True)


def test_a_mask_that_is_given_and_one_of_documents() -> None:
    def documents(self: Any, q: torch.Tensor, of: torch.Tensor) -> Any:
        mask = create_block_mask(lambda b, h, i, j: of[i] == of[j], None, None, 512, 512, device=q.device)
        return flex_attention(q, q, q, block_mask=mask)

    given = Runs(lambda self, q, mask: flex_attention(q, q, q, block_mask=mask))
    assert archprof.profile(given, {"q": LONG, "mask": make_causal(512)}).totals.macs == 10 * BLOCK * 32
    assert archprof.profile(Runs(documents), (LONG, torch.arange(512) // 128)).totals.macs == 4 * BLOCK * 32


def test_torch_is_as_it_was() -> None:
    archprof.profile(Runs(lambda self, q: flex_attention(q, q, q)), TOKENS)
    with pytest.raises(ValueError, match="only supported on CUDA, CPU"):
        flex_attention(*[TOKENS.to("meta")] * 3)
    result = flex_attention(TOKENS, TOKENS, TOKENS)
    torch.testing.assert_close(result, nn.functional.scaled_dot_product_attention(TOKENS, TOKENS, TOKENS))


def test_by_torchs_counter_it_is_whole() -> None:
    model = Runs(lambda self, q: flex_attention(self.line(q), q, q, block_mask=self.mask), line=nn.Linear(16, 16))
    model.mask = make_causal(512)
    profile = archprof.profile(model, LONG)
    (whole,) = [part for part in flop_counter.count_parts(ToolView(profile)) if "flex" in part.what]
    assert (whole.low, whole.macs) == (16 * BLOCK * 32, 10 * BLOCK * 32)  # torch's formula knows no block mask
