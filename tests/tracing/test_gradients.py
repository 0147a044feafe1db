"""Forwards that compute gradients themselves: force fields, physics-informed nets, maps of attention, inner loops.

The oracle runs the model on real tensors with gradients on, as its user does, and sums torch's own formulas over the
ops that the dispatcher sees. torch's counter itself hooks modules in a way that `autograd.grad` refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fuzz.oracle import Formulas
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev, vjp, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from tracing.odd import Runs

import archprof
from archprof.facts.records import Profile
from archprof.tracing.verify import count_by_sources

pytestmark = pytest.mark.filterwarnings("ignore")

POINTS = torch.rand(5, 3)
IMAGES = torch.rand(2, 3, 8, 8)
FIRST, LAST = 5 * 3 * 8, 5 * 8
"""MACs of the layers of `net` over the points."""


def count_really(model: nn.Module, inputs: list[torch.Tensor], *, train: bool) -> tuple[int, int | None]:
    """Forward and backward MACs."""
    model.train(train)
    with sdpa_kernel(SDPBackend.MATH), Formulas() as formulas:
        results = model(*[tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in inputs])
        forward = formulas.flops // 2
        roots = [leaf for leaf in pytree.tree_leaves(results) if leaf.requires_grad]
        if train and roots:
            torch.autograd.backward(roots, [torch.ones_like(root) for root in roots])
    return forward, formulas.flops // 2 - forward if train else None


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def forces(self: Any, x: torch.Tensor) -> Any:
    x.requires_grad_(True)
    energy = self.net(x).sum()
    return energy, -torch.autograd.grad(energy, x, create_graph=self.training)[0]


def forces_of_its_own(self: Any, x: torch.Tensor) -> Any:
    with torch.enable_grad():
        return forces(self, x)


@torch.enable_grad()
def decorated(self: Any, x: torch.Tensor) -> Any:
    return forces(self, x)[1]


def stress(self: Any, x: torch.Tensor) -> Any:
    strain = torch.zeros(3, 3, device=x.device).requires_grad_()
    return torch.autograd.grad(self.net(x + x @ strain).sum(), strain, create_graph=self.training)


def stress_with_values(self: Any, x: torch.Tensor) -> Any:
    strain = torch.zeros(3, 3, requires_grad=True)
    return torch.autograd.grad(self.net(x + x @ strain).sum(), strain, create_graph=self.training)


def residual_of_an_equation(self: Any, x: torch.Tensor) -> Any:
    x = x.clone().requires_grad_(True)
    u = self.net(x)
    (slope,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
    (curve,) = torch.autograd.grad(slope[:, 0], x, torch.ones_like(slope[:, 0]), create_graph=True)
    return u, slope, curve


def seeds_with_values(self: Any, x: torch.Tensor) -> Any:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(self.net(x), x, torch.eye(5)[:, :, None], is_grads_batched=True)[0]


def backward_inside(self: Any, x: torch.Tensor) -> Any:
    self.net(x).pow(2).sum().backward()
    return self.net(x), self.net[0].weight.grad.sum()


def class_activation(self: Any, x: torch.Tensor) -> Any:
    seen = self.conv(x)
    seen.retain_grad()
    self.head(seen.mean((2, 3)))[:, 0].sum().backward(retain_graph=True)
    return (seen.grad.mean((2, 3), keepdim=True) * seen).sum(1).relu()


def hook(self: Any, x: torch.Tensor) -> Any:
    seen = self.conv(x)
    seen.register_hook(lambda slope: None)
    return self.head(seen.mean((2, 3)))


def hook_of_several(self: Any, x: torch.Tensor) -> Any:
    y = self.net(x)
    torch.autograd.graph.register_multi_grad_hook([y], lambda slopes: None)
    return y


def hook_of_a_node(self: Any, x: torch.Tensor) -> Any:
    y = self.net(x)
    y.grad_fn.register_hook(lambda *slopes: None)
    return y


def inner_loop(self: Any, x: torch.Tensor) -> Any:
    fast = dict(self.net.named_parameters())
    for _ in range(2):
        loss = functional_call(self.net, fast, (x,)).pow(2).mean()
        slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: weight - 0.1 * slope for (name, weight), slope in zip(fast.items(), slopes, strict=True)}
    return functional_call(self.net, fast, (x,))


def training_at_test_time(self: Any, x: torch.Tensor) -> Any:
    optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
    with torch.enable_grad():
        for _ in range(2):
            optimizer.zero_grad()
            self.net(x).pow(2).mean().backward()
            optimizer.step()
    return self.net(x)


def sampling(self: Any, x: torch.Tensor) -> Any:
    for _ in range(3):
        x = x.detach().requires_grad_()
        x = x - 0.1 * torch.autograd.grad(self.net(x).sum(), x)[0]
    return x.detach()


def checkpointed(self: Any, x: torch.Tensor) -> Any:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(
        checkpoint(self.net, x, use_reentrant=False).sum(), x, create_graph=self.training
    )[0]  # fmt: skip


def refused_and_handled(self: Any, x: torch.Tensor) -> Any:
    y = self.net(x)
    try:
        return y.sum() + torch.autograd.grad(y.sum(), self.net[0].weight, retain_graph=True)[0].sum()
    except RuntimeError:
        return y


def and_values(self: Any, x: torch.Tensor) -> Any:
    x = x.clone().requires_grad_()
    y = self.net(x)
    return torch.autograd.grad(y.sum() * int((y > -9).all()), x, create_graph=self.training)[0]


class Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x @ x.mT

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return slope @ x + slope.mT @ x


def own_function(self: Any, x: torch.Tensor) -> Any:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(Gram.apply(self.net[0](x)).sum(), x, create_graph=self.training)[0]


def convolutions(self: Any, x: torch.Tensor) -> Any:
    x.requires_grad_()
    return torch.autograd.grad(self.head(self.conv(x).tanh().mean((2, 3))).sum(), x, create_graph=self.training)[0]


CASES: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "forces": (forces, POINTS),
    "forces of an input that has a gradient": (forces, POINTS.clone().requires_grad_()),
    "forces, gradients turned on inside": (forces_of_its_own, POINTS),
    "forces, by a decorator": (decorated, POINTS),
    "stress": (stress, POINTS),
    "stress by a tensor with values": (stress_with_values, POINTS),
    "first and second derivative": (residual_of_an_equation, POINTS),
    "many gradients at once": (seeds_with_values, POINTS),
    "backward": (backward_inside, POINTS),
    "class activation maps": (class_activation, IMAGES),
    "a hook": (hook, IMAGES),
    "a hook of several": (hook_of_several, POINTS),
    "a hook of a node": (hook_of_a_node, POINTS),
    "an inner loop": (inner_loop, POINTS),
    "training at test time": (training_at_test_time, POINTS),
    "sampling": (sampling, POINTS),
    "checkpointed": (checkpointed, POINTS),
    "values, too": (and_values, POINTS),
    "a function of one's own": (own_function, POINTS),
    "convolutions": (convolutions, IMAGES),
    "torch.func.grad": (lambda self, x: grad(lambda t: self.net(t).sum())(x), POINTS),
    "torch.func.vjp": (lambda self, x: vjp(self.net, x)[1](torch.ones(5, 1, device=x.device))[0], POINTS),
    "torch.func.jacrev": (lambda self, x: vmap(jacrev(self.net))(x), POINTS),
    "torch.func.hessian": (lambda self, x: vmap(hessian(lambda t: self.net(t).sum()))(x), POINTS),
    "autograd.functional": (
        lambda self, x: torch.autograd.functional.hessian(lambda t: self.net(t).sum(), x, create_graph=self.training),
        POINTS,
    ),
}


def make(name: str) -> nn.Module:
    return Runs(CASES[name][0], net=net(), conv=nn.Conv2d(3, 4, 3), head=nn.Linear(4, 5))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str, train: bool) -> None:
    profile = archprof.profile(make(name), CASES[name][1], train=train)
    profile.check()
    totals = profile.totals
    assert (totals.macs, totals.backward_macs) == count_really(make(name), [CASES[name][1]], train=train)
    assert totals.complete


def rows(profile: Profile) -> dict[str, int]:
    return {layer.path: cost.macs for layer, cost in zip(profile.layers, profile.costs, strict=True) if cost.macs}


@pytest.mark.parametrize("run", [forces, forces_of_its_own])
@pytest.mark.parametrize("train", [False, True])
def test_a_gradient_belongs_to_its_layer(run: Any, train: bool) -> None:
    profile = archprof.profile(Runs(run, net=net()), POINTS, train=train)
    assert rows(profile) == {"net.0": 2 * FIRST, "net.2": 2 * LAST}
    assert {op.phase for op in profile.ops} == {"forward", "backward"} if train else {"forward"}


def test_a_gradient_of_no_layer_belongs_to_the_caller() -> None:
    def run(self: Any, x: torch.Tensor) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad((x @ x.T).sum(), x)[0]

    inner = nn.Sequential(Runs(run))
    assert rows(archprof.profile(inner, POINTS)) == {"0": 3 * 5 * 5 * 3}


def test_gradients_that_accumulate_belong_to_the_parameters_owner() -> None:
    def run(self: Any, x: torch.Tensor) -> Any:
        for _ in range(2):
            self.net(x).sum().backward()
        return x

    profile = archprof.profile(Runs(run, net=net()), POINTS)
    adds = [op for op in profile.ops if op.name.startswith("aten.add") and op.inputs[0] != op.inputs[1]]
    owners = {profile.layers[profile.call_rows[op.call]].path for op in adds if op.outputs}
    assert {"net.0", "net.2"} <= owners


def test_what_is_said() -> None:
    asked = archprof.profile(make("forces"), POINTS)
    assert asked.ran.gradients == "on"
    assert [note.partition(":")[0].partition(",")[0] for note in asked.notes] == [
        "Run with gradients on",
        "The forward computes gradients itself",
    ]
    inside = archprof.profile(make("forces, gradients turned on inside"), POINTS)
    assert (inside.ran.gradients, len(inside.notes)) == ("inside", 1)
    hooked = archprof.profile(make("a hook"), IMAGES)
    assert (hooked.ran.gradients, len(hooked.notes)) == ("on", 1)


def test_plain_models_run_without() -> None:
    profile = archprof.profile(net(), POINTS)
    assert (profile.ran.gradients, profile.notes, profile.totals.macs) == (None, (), FIRST + LAST)


def test_a_refusal_that_the_model_handles_is_one() -> None:
    assert archprof.profile(Runs(refused_and_handled, net=net()), POINTS).totals.macs == 2 * (FIRST + LAST)


def test_an_error_that_gradients_do_not_mend_is_raised() -> None:
    def run(self: Any, x: torch.Tensor) -> Any:
        return torch.autograd.grad(self.net(x).sum(), torch.rand(3, requires_grad=True))

    with pytest.raises(archprof.TraceError, match="appears to not have been used"):
        archprof.profile(Runs(run, net=net()), POINTS)


TOKENS = torch.rand(1, 2, 6, 8)
SCORES = 2 * (2 * 6 * 6 * 8)


def attend(self: Any, x: torch.Tensor) -> Any:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(functional.scaled_dot_product_attention(x, x, x).sum(), x, create_graph=True)[0]


def test_a_gradient_of_fused_attention() -> None:
    profile = archprof.profile(Runs(attend), TOKENS)
    assert profile.totals.macs == SCORES + SCORES * 5 // 2  # five products, with the scores made again
    assert not [note for note in profile.notes if "taken apart" in note or "takes it apart" in note]


def test_a_gradient_of_its_gradient_takes_attention_apart() -> None:
    def run(self: Any, x: torch.Tensor) -> Any:
        return attend(self, self.line(x))

    profile = archprof.profile(Runs(run, line=nn.Linear(8, 8)), TOKENS, train=True)
    found = profile.totals.macs, profile.totals.backward_macs
    assert found == count_really(Runs(run, line=nn.Linear(8, 8)), [TOKENS], train=True)
    assert any("takes it apart" in note for note in profile.notes)


STEP = 4 * 8 * (8 + 8)
"""MACs of one row and step of an LSTM 8 -> 8."""


@pytest.mark.parametrize(("wanted", "passes"), [("x", 2), ("weights", 3)])
def test_a_gradient_of_a_recurrent_layer(wanted: str, passes: int) -> None:
    def run(self: Any, x: torch.Tensor) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(self.lstm(x)[0].sum(), x if wanted == "x" else self.lstm.weight_hh_l0)[0]

    profile = archprof.profile(Runs(run, lstm=nn.LSTM(8, 8)), torch.rand(4, 6, 8))
    assert rows(profile) == {"lstm": passes * 24 * STEP}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_of_attention(reentrant: bool) -> None:
    def attention(x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(x, x, x)

    def run(self: Any, x: torch.Tensor) -> Any:
        return checkpoint(attention, self.line(x), use_reentrant=reentrant)

    profile = archprof.profile(Runs(run, line=nn.Linear(8, 8)), TOKENS, train=True)
    assert profile.totals.macs == SCORES + 12 * 64
    assert profile.totals.backward_macs == SCORES + SCORES * 5 // 2 + 12 * 64  # once more, and its gradient


def test_real_passes_run_with_gradients_where_they_must() -> None:
    measured = archprof.measure(make("forces"), POINTS, rounds=1, seconds=0.1)
    assert measured.measurement is not None
    assert any("in the time of the module that asks" in note for note in measured.measurement.notes)


def test_torchs_counter_is_given_gradients_too() -> None:
    profile, (by_torch, *_) = count_by_sources(make("backward"), POINTS)
    assert by_torch.macs == profile.totals.macs == 3 * (FIRST + LAST) + LAST


def test_what_is_saved_knows_it(tmp_path: Any) -> None:
    profile = archprof.profile(make("forces"), POINTS)
    profile.save(tmp_path / "forces.json")
    assert archprof.load(tmp_path / "forces.json") == profile


class MishSlope(nn.Module):
    """A gradient that the forward switches on for itself, through the op that torch takes apart on meta alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(functional.mish(x).sum(), x)[0]


class DispatchedNames(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name().replace("::", ".").partition(".")[2].partition(".")[0])
        return func(*args, **kwargs or {})


def test_an_op_behind_a_gradient_of_the_forward_is_as_whole_as_on_a_cpu() -> None:
    with DispatchedNames() as seen:
        MishSlope()(POINTS)
    assert [name for name in seen.names if "mish" in name] == ["mish", "mish_backward"]
    profile = archprof.profile(MishSlope(), POINTS)
    assert [op.name for op in profile.ops] == [f"aten.{name}" for name in seen.names]
