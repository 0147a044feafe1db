"""Backward work belongs to the layer whose forward made it.

The oracle is brute force: each layer alone, under torch's counter, given inputs that need a gradient where those in
the model do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import archprof
from archprof.facts.records import Profile
from archprof.sources.resolve import resolve
from archprof.tracing.oracles import torch_macs


class Forward(nn.Module):
    """A module whose forward is the given function of it and its inputs."""

    def __init__(self, forward: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        self.body = forward
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *args: Any) -> Any:
        return self.body(self, *args)


def trained(model: nn.Module, *inputs: torch.Tensor) -> Profile:
    profile = archprof.profile(model, inputs, train=True)
    profile.check()
    assert profile.totals.complete
    return profile


def backward(profile: Profile) -> dict[str, int]:
    """Own backward MACs by path, calls added up, rows without any left out."""
    found: dict[str, int] = {}
    for layer, cost in zip(profile.layers, profile.costs, strict=True):
        assert cost.backward_macs is not None
        if cost.backward_macs:
            found[layer.path] = found.get(layer.path, 0) + cost.backward_macs
    return found


def alone(layer: nn.Module, *shapes: tuple[int, ...], first: bool = False) -> int:
    """Backward MACs of one layer by torch's counter; the inputs of the `first` need no gradient."""
    layer = layer.to_empty(device="meta").train() if next(layer.parameters(), None) is not None else layer
    inputs = [torch.zeros(shape, device="meta", requires_grad=not first) for shape in shapes]
    with FlopCounterMode(display=False) as forward:
        output = layer(*inputs)
    with FlopCounterMode(display=False) as both:
        tensors = [item for item in (output if isinstance(output, tuple) else (output,)) if item is not None]
        torch.autograd.backward(tensors[0], torch.zeros_like(tensors[0]))
    assert forward.get_total_flops()
    return int(both.get_total_flops()) // 2


def linear(rows: int = 4, columns: int = 4) -> nn.Linear:
    return nn.Linear(rows, columns)


X = torch.zeros(2, 4)
ONE = 2 * 4 * 4
"""MACs of one of these Linears on X: its backward has two such products, or one where its input needs no gradient."""

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=1, bias=False), (2, 4, 9, 9)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, dilation=2), (2, 4, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 3), (1, 2, 5, 5, 5)),
    "transposed conv": (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2), (2, 4, 5, 5)),
    "linear": (lambda: nn.Linear(5, 7), (2, 3, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_in_the_middle_and_at_the_start(kind: str) -> None:
    make, shape = LAYERS[kind]
    middle = nn.Sequential(Forward(lambda m, x: x * m.scale, scale=nn.Parameter(torch.ones(1))), make(), nn.ReLU())
    assert backward(trained(middle, torch.zeros(shape))) == {"1": alone(make(), shape)}
    first = nn.Sequential(make(), nn.Sigmoid())
    assert backward(trained(first, torch.zeros(shape))) == {"0": alone(make(), shape, first=True)}


def test_a_grouped_convolution_by_hand() -> None:
    """Torch's counter takes its weight gradient for `groups` times what it is."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False))
    assert backward(trained(model, torch.zeros(1, 4, 6, 6))) == {"0": 36 * 16, "1": 2 * 36 * 8 * 2 * 9}


def test_a_chain() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.Flatten(), nn.Linear(4 * 36, 5))
    profile = trained(model, torch.zeros(2, 3, 8, 8))
    assert backward(profile) == {"0": 2 * 36 * 4 * 27, "4": 2 * 2 * 144 * 5}
    assert {op.call for op in profile.ops if op.phase == "backward"} == {1, 2, 3, 4, 5}
    assert (
        profile.totals.backward_macs
        == torch_macs(model, (torch.zeros(2, 3, 8, 8),), backward=True) - profile.totals.macs
    )


def test_branches_that_join() -> None:
    model = Forward(
        lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], 1) + 1) * m.a(x).sum(), a=linear(), b=linear(), c=linear(8, 3)
    )
    profile = trained(model, X)
    assert backward(profile) == {"a": 2 * ONE, "b": ONE, "c": 2 * 2 * 8 * 3}


def test_a_shared_module_is_charged_for_each_call() -> None:
    profile = trained(nn.Sequential(*[linear()] * 3), X)
    assert [cost.backward_macs for cost in profile.costs] == [0, ONE, 2 * ONE, 2 * ONE]


@pytest.mark.parametrize(
    "last",
    [
        lambda x: x.argmax(),
        lambda x: x.detach() + 1,
        lambda x: (x > 0).sum(),
        lambda x: x.shape,
        lambda x: torch.zeros(3).cumsum(0),
    ],
)
def test_work_without_gradient_at_the_end_of_a_module_takes_nothing_from_the_next(last: Callable[..., Any]) -> None:
    """METHODS: the first op that sees a sequence number is not always the one that made the node."""

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.inner(x)
        last(y)
        return y

    model = nn.Sequential(
        Forward(forward, inner=linear()), linear(4, 6), Forward(forward, inner=linear(6, 5)), linear(5, 3)
    )
    assert backward(trained(model, X)) == {"0.inner": ONE, "1": 2 * 2 * 24, "2.inner": 2 * 2 * 30, "3": 2 * 2 * 15}


def test_functional_work_and_views() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.a(x)
        y[:, :2] += 1
        y[:, 0].mul_(2)
        return F.linear(y.t().t(), m.weight)

    model = nn.Sequential(Forward(forward, a=linear(), weight=nn.Parameter(torch.zeros(3, 4))), linear(3, 3))
    assert backward(trained(model, X)) == {"0": 2 * 2 * 12, "0.a": ONE, "1": 2 * 2 * 9}


def test_frozen_parameters_have_no_weight_gradient() -> None:
    model = nn.Sequential(linear(), linear(), linear(), linear())
    model[0].requires_grad_(False)
    model[2].weight.requires_grad_(False)
    assert backward(trained(model, X)) == {"1": ONE, "2": ONE, "3": 2 * ONE}


def test_a_model_that_is_frozen_whole_has_no_backward() -> None:
    profile = trained(linear().requires_grad_(False), X)
    assert profile.totals.backward_macs == 0
    assert any("no backward" in note for note in profile.notes)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return grad @ weight.t(), (x.t() @ grad) @ torch.eye(4, device=grad.device)


def test_a_custom_function() -> None:
    custom = Forward(lambda m, x: Doubled.apply(x, m.weight), weight=nn.Parameter(torch.zeros(4, 4)))
    model = nn.Sequential(linear(), custom, linear())
    assert backward(trained(model, X)) == {"0": ONE, "1": 2 * ONE + 4 * 4 * 4, "2": 2 * ONE}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_recomputes_in_the_backward(reentrant: bool) -> None:
    """The recompute is work of the checkpointed layers; the non-reentrant one stops when it has what it needs."""
    inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
    model = Forward(
        lambda m, x: m.b(checkpoint(m.inner, m.a(x), use_reentrant=reentrant)), a=linear(), inner=inner, b=linear()
    )
    profile = trained(model, X)
    assert [layer.path for layer in profile.layers] == [
        "",
        "a",
        "inner",
        "inner.0",
        "inner.1",
        "inner.2",
        "inner.3",
        "b",
    ]
    assert backward(profile) == {"a": ONE, "inner.0": 3 * ONE, "inner.2": 3 * ONE, "b": 2 * ONE}
    assert profile.totals.macs == 4 * ONE


def test_two_checkpoints_of_one_module() -> None:
    shared = nn.Sequential(linear(), nn.Tanh())
    model = Forward(
        lambda m, x: checkpoint(m.shared, checkpoint(m.shared, m.a(x), use_reentrant=False), use_reentrant=False),
        a=linear(), shared=shared,
    )  # fmt: skip
    profile = trained(model, X)
    assert [(layer.path, layer.call) for layer in profile.layers if layer.kind == "Linear"] == [
        ("a", 0), ("shared.0", 0), ("shared.0", 1)
    ]  # fmt: skip
    assert [cost.backward_macs for cost in profile.costs if cost.backward_macs] == [ONE, 3 * ONE, 3 * ONE]


OUTPUTS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "loss in a dict": lambda m, x: {"logits": m.b(x), "loss": m.a(x).sum()},
    "loss as an attribute": lambda m, x: Loss(m.a(x).sum(), m.b(x)),
    "a list": lambda m, x: [m.a(x), None, "text", x.argmax()],
    "nested": lambda m, x: ({"deep": [m.a(x)]}, x),
}


class Loss:
    def __init__(self, loss: torch.Tensor, logits: torch.Tensor) -> None:
        self.loss, self.logits = loss, logits


@pytest.mark.parametrize("kind", OUTPUTS)
def test_where_the_backward_begins(kind: str) -> None:
    """At the loss where the model returns one, else at every output that has a gradient."""
    assert backward(trained(Forward(OUTPUTS[kind], a=linear(), b=linear()), X)) == {"a": ONE}


E, L, N, H = 16, 5, 2, 4


def test_attention_is_five_products_backwards() -> None:
    """Fused kernels compute the scores anew: Q K', dO V', dS K, dS' Q, P' dO, each N*L*L*E."""

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (part.unflatten(-1, (H, E // H)).transpose(1, 2) for part in m.qkv(x).chunk(3, -1))
        return m.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))

    model = nn.Sequential(Forward(forward, qkv=nn.Linear(E, 3 * E), out=nn.Linear(E, E)))
    x = torch.zeros(N, L, E)
    profile = trained(model, x)
    assert backward(profile) == {"0": 5 * N * L * L * E, "0.qkv": 3 * N * L * E * E, "0.out": 2 * N * L * E * E}
    unfused = torch_macs(model, (x,), backward=True)
    assert profile.totals.macs + profile.totals.backward_macs == unfused + N * L * L * E


def test_multi_head_attention() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(E, H, 32, batch_first=True, dropout=0.0))
    profile = trained(model, torch.zeros(N, L, E))
    attention = 5 * N * L * L * E + 3 * N * L * E * E + 2 * N * L * E * E
    assert backward(profile) == {
        "0.self_attn": attention, "0.linear1": 2 * N * L * E * 32, "0.linear2": 2 * N * L * E * 32
    }  # fmt: skip


def test_lstm() -> None:
    """Twice the forward: each weight matrix stands in two products."""
    model = Forward(lambda m, x: m.lstm(m.a(x))[0], a=nn.Linear(8, 8), lstm=nn.LSTM(8, 16))
    profile = trained(model, torch.zeros(5, 2, 8))
    assert backward(profile) == {"a": 10 * 64, "lstm": 2 * 10 * 4 * 16 * (8 + 16)}


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "torchvision:densenet121", "torchvision:mobilenet_v3_small"])
def test_the_layers_of_a_real_model(name: str) -> None:
    """Every layer costs twice its forward, but for the first, whose input needs no gradient."""
    profile = archprof.profile(name, (2, 3, 224, 224), train=True)
    profile.check()
    (_, first), *rest = ((cost.macs, cost.backward_macs) for cost in profile.costs if cost.macs)
    assert first == next(cost.macs for cost in profile.costs if cost.macs)
    assert all(back == 2 * macs for macs, back in rest)
    if "mobilenet" not in name:  # torch's counter takes the weight gradient of a grouped convolution `groups` times
        both = profile.totals.macs + profile.totals.backward_macs
        model = resolve(name).model.train()
        assert both == torch_macs(model, (torch.zeros(2, 3, 224, 224),), backward=True)


def test_a_forward_that_takes_gradients_itself() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.a(x)
        (slope,) = torch.autograd.grad(y.sum(), m.a.weight, create_graph=True)
        return y + slope.sum()

    profile = trained(nn.Sequential(Forward(forward, a=linear())), X)
    assert [(cost.macs, layer.path) for cost, layer in zip(profile.costs, profile.layers, strict=True)] == [
        (0, ""),
        (0, "0"),
        (2 * ONE, "0.a"),  # the layer's own, and the gradient of its weight
    ]
    assert backward(profile)["0.a"] == ONE


def test_sparse_gradients() -> None:
    profile = archprof.profile(
        nn.Sequential(nn.Embedding(9, 4, sparse=True), linear()), torch.zeros(2, dtype=torch.int64), train=True
    )
    assert backward(profile) == {"1": 2 * ONE}


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_mask_has_a_gradient_where_it_is_asked_for(learns: bool, by_name: bool) -> None:
    """Kernels compute the gradients of queries, keys and values in any case, that of a mask where it is asked for."""

    class Masked(nn.Module):
        def forward(self, q: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            if by_name:
                return F.scaled_dot_product_attention(attn_mask=mask, query=q, key=q, value=q)
            return F.scaled_dot_product_attention(q, q, q, mask)

    q, mask = torch.zeros(1, 2, 6, 8, requires_grad=True), torch.zeros(6, 6, requires_grad=learns)
    profile = archprof.profile(Masked(), (q, mask), train=True)
    (backward,) = (op for op in profile.ops if op.name == "aten.scaled_dot_product_attention_backward")
    made = sorted(profile.tensors[index].spec.shape for index in backward.outputs)
    assert made == [(1, 2, 6, 8)] * 3 + [(6, 6)] * learns
