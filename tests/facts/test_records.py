"""What a profile looks up of its ops and tensors."""

from __future__ import annotations

import torch
from torch import nn

import archprof


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + x


def test_who_made_and_who_first_read_a_tensor() -> None:
    profile = archprof.profile(Residual(), torch.zeros(2, 4), train=True)
    transpose, product, add = (op.name for op in profile.forward_ops)
    assert (transpose, product, add) == ("aten.t", "aten.mm", "aten.add")
    given, weight = (next(i for i in range(len(profile.tensors)) if profile.role_of(i) == role)
                     for role in ("input", "parameter"))  # fmt: skip
    assert {given, weight}.isdisjoint(profile.maker_by_tensor)
    assert profile.first_user_by_tensor[weight].name == "aten.t"
    assert profile.first_user_by_tensor[given].name == "aten.mm"
    made = profile.forward_ops[1].outputs[0]
    assert profile.maker_by_tensor[made].name == "aten.mm"
    assert profile.first_user_by_tensor[made].name == "aten.add"
    assert [profile.layer_of(op).path for op in profile.forward_ops] == ["linear", "linear", ""]
    assert {op.phase for op in profile.ops} == {"forward", "backward"}
