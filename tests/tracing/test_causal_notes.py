"""What is said of causal attention that was asked to be counted half. Oracle: the scores by hand."""

from __future__ import annotations

import torch
from torch import nn

import archprof

LENGTH, WIDTH = 6, 4
SCORES, HALF = LENGTH * LENGTH, LENGTH * (LENGTH + 1) // 2


class Attends(nn.Module):
    """One attention that is causal by its flag, and one by a mask."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attend = nn.functional.scaled_dot_product_attention
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool, device=x.device).tril()
        made: torch.Tensor = attend(attend(x, x, x, is_causal=True), x, x, attn_mask=mask)
        return made


class ByFlag(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)


INPUT = (1, 1, LENGTH, WIDTH)


def test_a_mask_that_is_not_read_is_said() -> None:
    profile = archprof.profile(Attends(), INPUT, causal="half")
    assert profile.totals.macs == 2 * WIDTH * (HALF + SCORES)
    assert profile.notes == (
        "Causal attention is counted half: only the scores that is_causal leaves.",
        "1 of 2 attentions have a mask given as a tensor, which is not read: all their scores are counted.",
    )


def test_what_was_asked_is_recorded() -> None:
    profile = archprof.profile(ByFlag(), INPUT, causal="half")
    assert profile.totals.macs == 2 * WIDTH * HALF
    assert profile.notes == ("Causal attention is counted half: only the scores that is_causal leaves.",)


def test_nothing_is_said_where_all_scores_count_or_there_are_none() -> None:
    assert archprof.profile(Attends(), INPUT).notes == ()
    assert archprof.profile(nn.Linear(3, 3), (1, 3), causal="half").notes == ()
