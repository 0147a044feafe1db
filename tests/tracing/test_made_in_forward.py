"""Weights that the forward makes: counted as what the model has, and trained. Oracle: by hand, and torch's counter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import archprof

X = torch.rand(5, 4)


class Makes(nn.Module):
    """Calls a function on itself, which makes what it wants where it is not there yet."""

    def __init__(self, forward: Callable) -> None:
        super().__init__()
        self.first, self.made, self.run = nn.Linear(4, 4), nn.ParameterList(), forward
        self.register_parameter("weight", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, self.first(x))


def make_layer(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if not hasattr(net, "late"):
        net.late = nn.Linear(4, 3)
    return net.late(x)


def fill_place(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if net.weight is None:
        net.weight = nn.Parameter(torch.zeros(4, 3))
    return x @ net.weight


def register(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if "late" not in net._parameters:
        net.register_parameter("late", nn.Parameter(torch.zeros(4, 3)))
    return x @ net.late


def append(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if not len(net.made):
        net.made.append(nn.Parameter(torch.zeros(4, 3)))
    return x @ net.made[0]


def make_each_time(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A leaf of the forward's own, which nobody holds after it."""
    return x @ torch.zeros(4, 3, requires_grad=True)


MAKERS = {make_layer: 15, fill_place: 12, register: 12, append: 12, make_each_time: 0}
"""What makes weights, and how many the model has of them then."""


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("train", [False, True])
def test_what_a_forward_makes(make: Callable, train: bool) -> None:
    """5 x 4 x 4 and 5 x 4 x 3 MACs; backward, both for the weights and the second for its input, too."""
    net = Makes(make)
    profile = archprof.profile(net, X, train=train)
    profile.check()
    assert profile.totals.params == 20 + MAKERS[make]
    assert profile.unread_parameters == ()
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "first.bias"]  # the user's own is as it was
    with FlopCounterMode(display=False) as counter:
        result = net(X)
        if train:
            result.sum().backward()
    counted = counter.get_total_flops() // 2
    assert counted == 5 * (16 + 12) + (5 * (16 + 12 + 12) if train else 0)
    assert profile.totals.macs + (profile.totals.backward_macs or 0) == counted


def test_a_gradient_for_what_the_forward_starts_from() -> None:
    """Steps from zeros down an energy: the product, and its gradients for the start, in each of two steps."""

    def descend(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        start = torch.zeros(5, 4, requires_grad=True)
        for _ in range(2):
            energy = (net.first(start) - x).pow(2).sum()
            start = start - 0.1 * torch.autograd.grad(energy, start, create_graph=True)[0]
        return start

    assert archprof.profile(Makes(descend), X).totals.macs == 5 * 16 * (1 + 2 * 2)


@pytest.mark.parametrize("before", [None, torch.ones(4, 2)])
def test_a_weight_outside_of_the_model_keeps_its_gradient(before: torch.Tensor | None) -> None:
    weight = nn.Parameter(torch.rand(4, 2))
    weight.grad = None if before is None else before.clone()
    totals = archprof.profile(Makes(lambda net, x: x @ weight), X, train=True).totals
    assert (totals.macs, totals.backward_macs) == (5 * (16 + 8), 5 * (16 + 8 + 8))
    assert (weight.grad is None) if before is None else torch.equal(weight.grad, before)
