from __future__ import annotations

import pytest
import torch
from torch import nn

from archprof.tracing.oracles import fvcore_macs, torch_macs


class Net(nn.Module):
    """Two convolutions, two batch norms and a linear layer: 50,720 MACs by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)))).relu()
        return self.fc(x.mean((2, 3)))


HAND = 64 * 8 * 9 * (3 + 8) + 8 * 4
X = torch.zeros(1, 3, 8, 8)


def test_both_agree_with_the_hand_count_and_count_no_norm():
    assert torch_macs(Net(), (X,)) == fvcore_macs(Net(), (X,)) == HAND


def test_backward_has_two_gradients_a_product_but_none_of_the_input():
    first = 64 * 8 * 9 * 3
    assert torch_macs(Net(), (X,), backward=True) == 3 * HAND - first
    assert torch_macs(Net(), (X.clone().requires_grad_(),), backward=True) == 3 * HAND


def test_neither_touches_the_model():
    model = Net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    rng = torch.get_rng_state()
    torch_macs(model, (X,), backward=True)
    fvcore_macs(model, (X,))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert attributes == {name: set(vars(module)) for name, module in model.named_modules()}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(rng, torch.get_rng_state())
    assert model.training


def test_keyword_arguments_and_attention_in_evaluation():
    layer, x = nn.MultiheadAttention(64, 4, batch_first=True).eval(), torch.zeros(2, 10, 64)
    assert torch_macs(layer, (x, x), {"value": x, "need_weights": False}) == 353_280
    assert torch.backends.mha.get_fastpath_enabled()


def test_fvcore_leaves_out_the_scores_of_attention():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(64, 192, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            return nn.functional.scaled_dot_product_attention(q, k, v)

    x = torch.zeros(2, 10, 64)
    assert torch_macs(Block(), (x,)) == 271_360
    assert fvcore_macs(Block(), (x,)) == 245_760


@pytest.mark.parametrize("model", [nn.Linear(3, 4, device="meta"), nn.Linear(5, 4)])
def test_fvcore_says_none_when_it_cannot_run(model):
    assert fvcore_macs(model, (torch.zeros(2, 3, device=model.weight.device),)) is None


def test_a_model_that_fails_leaves_torch_as_it_was():
    with pytest.raises(RuntimeError):
        torch_macs(nn.Linear(5, 4), (torch.zeros(2, 3),))
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.is_grad_enabled()
