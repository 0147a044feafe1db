"""Cases at the edge of the tracer that a reader of the table would not forgive."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

import archprof
from archprof.errors import TraceError, UsageError
from archprof.facts import store


@pytest.mark.parametrize(
    ("pool", "shape", "out"),
    [
        (nn.MaxPool1d(2), (2, 8, 30), (2, 8, 15)),
        (nn.AdaptiveMaxPool1d(5), (2, 8, 30), (2, 8, 5)),
        (nn.MaxPool2d(2), (2, 8, 6, 6), (2, 8, 3, 3)),
        (nn.MaxPool3d(2), (2, 8, 4, 4, 4), (2, 8, 2, 2, 2)),
    ],
)
def test_indices_of_a_max_pool_are_no_activation(pool: nn.Module, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    profile = archprof.profile(pool, shape)
    assert profile.layers[0].outputs[0].shape == out
    assert profile.totals.activation_elements == torch.empty(out, device="meta").numel()


def test_indices_that_are_returned_are_one() -> None:
    profile = archprof.profile(nn.MaxPool1d(2, return_indices=True), (2, 8, 30))
    assert profile.totals.activation_elements == 2 * 240
    assert profile.totals.activation_bytes["float32"] == 240 * (4 + 8)


class Attention(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (2, 0, 1, 3)])
@pytest.mark.parametrize("leads", [((3, 4),) * 3, ((1, 4), (3, 4), (3, 4)), ((3, 4), (3, 1), (3, 1))])
def test_attention_has_the_shape_and_layout_of_the_real_one(
    order: tuple[int, ...], leads: tuple[tuple[int, int], ...]
) -> None:
    def made(lead: tuple[int, int]) -> torch.Tensor:
        shape = (*lead, 6, 8)
        return torch.randn([shape[dim] for dim in order]).permute([order.index(dim) for dim in range(4)])

    q, k, v = map(made, leads)
    real = functional.scaled_dot_product_attention(q, k, v)
    profile = archprof.profile(Attention(), (q, k, v))
    assert profile.layers[0].outputs[0].shape == tuple(real.shape)
    assert profile.totals.activation_elements == real.numel()
    assert profile.totals.macs == 2 * real.shape[0] * 4 * 6 * 6 * 8


def test_attention_of_a_batch_copies_no_more_than_the_real_one() -> None:
    """q, k and v as nn.MultiheadAttention makes them: the permute that follows finds the layout it wants."""

    class Heads(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = x.view(5, 2 * 3, 4).transpose(0, 1).view(2, 3, 5, 4)
            return functional.scaled_dot_product_attention(q, q, q).permute(2, 0, 1, 3).contiguous().view(10, 12)

    profile = archprof.profile(Heads(), (5, 2, 12))
    assert profile.totals.activation_elements == 5 * 2 * 12


def test_a_batch_must_reach_the_pass() -> None:
    with pytest.raises(UsageError, match="exact shape"):
        archprof.profile(nn.Linear(4, 2), torch.zeros(1, 4), batch=8)
    assert archprof.profile(nn.Linear(4, 2), "4", batch=8).totals.macs == 64


def test_a_saved_profile_is_json_for_everyone() -> None:
    class Padded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.pad(x, (1, 1), value=float("-inf"))

    profile = archprof.profile(Padded(), (2, 4))
    text = profile.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert store.from_json(text) == profile


def test_parameters_of_a_stopped_pass_are_all_there() -> None:
    with pytest.raises(TraceError) as stopped:
        archprof.profile("lenet5", (1, 2, 32, 32))
    total = stopped.value.profile.table(columns=["params", "macs"]).total
    assert (total.cells[1], total.bounds) == (61_706, {"macs"})


def test_a_module_made_with_the_attributes_of_another_runs_itself() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            half = object.__new__(nn.Linear)
            half.__dict__.update(self.whole.__dict__)
            half.__dict__["_parameters"] = {"weight": self.whole.weight[:2], "bias": None}
            return half(x)

    profile = archprof.profile(Half(), (1, 4))
    assert profile.totals.macs == 2 * 4
    assert [layer.call for layer in profile.layers] == [0, None]
