"""Live bytes at every op against real storages: what keeps a tensor there keeps it here, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from real_memory import NO_WORK, measure_live_bytes
from torch import nn
from torch.nn import functional
from torch.utils import checkpoint as ckpt
from torch.utils.checkpoint import CheckpointPolicy, checkpoint

import archprof
from archprof.facts.liveness import compute_peak_bytes, sum_live_bytes

KIB = 1024
ROWS, WIDTH = 64, 16


class Runs(nn.Module):
    """A module whose forward is the given function of it and its input."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, x)


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x).exp().tanh()
        raise ValueError(y.shape)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, 3 * WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.inner(x).view(4, ROWS // 4, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
        found = functional.scaled_dot_product_attention(q, k, v)
        return x + found.transpose(1, 2).reshape(ROWS, WIDTH)


def block() -> nn.Module:
    layers = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))


def rows() -> torch.Tensor:
    return torch.rand(ROWS, WIDTH)


def in_turn(run: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    """A forward that runs each of four parts in turn, in the given way."""

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        for part in m.parts:
            x = run(part, x)
        return x

    return forward


def save_products(context: Any, op: Any, *args: Any, **options: Any) -> CheckpointPolicy:
    product = op == torch.ops.aten.mm.default
    return CheckpointPolicy.MUST_SAVE if product else CheckpointPolicy.PREFER_RECOMPUTE


def without_early_stop(m: Any, x: torch.Tensor) -> torch.Tensor:
    with ckpt.set_checkpoint_early_stop(False):
        result: torch.Tensor = in_turn(partial(checkpoint, use_reentrant=False))(m, x)
        return result


def nested(m: Any, x: torch.Tensor) -> Any:
    def pair(x: torch.Tensor) -> Any:
        return checkpoint(m.parts[1], checkpoint(m.parts[0], x, use_reentrant=False), use_reentrant=False)

    return m.parts[2](checkpoint(pair, x, use_reentrant=False))


def catches_an_op(m: Any, x: torch.Tensor) -> Any:
    x = m.parts[0](x)
    try:
        m.parts[1](x)[:, :3] @ x
    except RuntimeError:
        x = x * 2
    return m.parts[2](x)


def catches_a_module(m: Any, x: torch.Tensor) -> Any:
    x = m.parts[0](x)
    try:
        m.bad(x)
    except ValueError:
        x = x * 2
    return m.parts[2](x)


def keeps_what_it_caught(m: Any, x: torch.Tensor) -> Any:
    kept: Any = None
    try:
        m.bad(x)
    except ValueError as error:
        kept = error
    x = m.parts[0](x)
    del kept
    return m.parts[1](x)


def drops_a_branch(m: Any, x: torch.Tensor) -> Any:
    x = m.parts[0](x)
    unused = m.parts[1](x)
    del unused
    return m.parts[2](x)


def keeps_gradients(m: Any, x: torch.Tensor) -> torch.Tensor:
    for part in m.parts:
        x = part(x)
        if x.requires_grad:
            x.retain_grad()
    return x


def saves_on_cpu(m: Any, x: torch.Tensor) -> Any:
    with torch.autograd.graph.save_on_cpu():
        return in_turn(nn.Module.__call__)(m, x)


def saves_halves(m: Any, x: torch.Tensor) -> Any:
    with torch.autograd.graph.saved_tensors_hooks(torch.Tensor.half, torch.Tensor.float):
        return in_turn(nn.Module.__call__)(m, x)


class Doubled(torch.autograd.Function):
    """Keeps its result, and one more tensor in a place that autograd does not know."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.other = x.exp()
        result = ctx.other * 2
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        saved: torch.Tensor = ctx.saved_tensors[0]
        return grad * saved + ctx.other


def yields(m: Any, x: torch.Tensor) -> Any:
    def through() -> Any:
        y = x
        for part in m.parts:
            y = part(y)
            yield y

    return [y.sum() for y in through()]


def plainly(part: nn.Module, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = part(x)
    return result


FORWARDS: dict[str, Callable[..., Any]] = {
    "a checkpoint": in_turn(partial(checkpoint, use_reentrant=False)),
    "a reentrant checkpoint": in_turn(partial(checkpoint, use_reentrant=True)),
    "a checkpoint that stops late": without_early_stop,
    "a selective checkpoint": in_turn(
        partial(
            checkpoint,
            use_reentrant=False,
            context_fn=partial(ckpt.create_selective_checkpoint_contexts, save_products),
        )
    ),
    "nested checkpoints": nested,
    "a sequence": lambda m, x: ckpt.checkpoint_sequential(m.parts, 2, x, use_reentrant=False),
    "a reentrant sequence": lambda m, x: ckpt.checkpoint_sequential(m.parts, 2, x, use_reentrant=True),
    "an op that fails": catches_an_op,
    "a module that fails": catches_a_module,
    "an exception that is kept": keeps_what_it_caught,
    "a branch that is dropped": drops_a_branch,
    "gradients that are kept": keeps_gradients,
    "kept tensors moved nowhere": saves_on_cpu,
    "kept tensors in halves": saves_halves,
    "a function of its own": in_turn(lambda part, x: Doubled.apply(part(x))),
    "a generator": yields,
}


def compare(model: nn.Module, inputs: list[torch.Tensor], *, train: bool) -> None:
    real = measure_live_bytes(model, inputs, train=train)
    profile = archprof.profile(model, tuple(inputs), train=train)
    profile.check()
    live = sum_live_bytes(profile.storages, len(profile.ops))
    ours = [(op.signature.name, size) for op, size in zip(profile.ops, live, strict=True)]
    assert profile.ran.device == "meta"
    assert [op for op in ours if op[0] not in NO_WORK] == [op for op in real if op[0] not in NO_WORK]
    assert compute_peak_bytes(profile) == max(size for _, size in real)


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("name", FORWARDS)
def test_every_op_holds_what_a_real_one_holds(name: str, train: bool) -> None:
    parts = nn.Sequential(*(block() for _ in range(4)))
    compare(Runs(FORWARDS[name], parts=parts, bad=Raises()), [rows().requires_grad_(train)], train=train)


def test_the_peak_of_checkpoints_by_hand() -> None:
    """While the seventh of eight blocks runs again, as its last tanh does, in tensors of 1,024 x 64 floats.

    There are: the input; the weights, which are as large; six results, the input of a block each; the last result and
    the gradient it started from, which the caller holds; the gradient that came down; of the block itself two results
    of tanh, and the product that the second is made of. And the eighth has gradients of its two weights.
    """
    model = Runs(
        in_turn(partial(checkpoint, use_reentrant=False)),
        parts=nn.Sequential(
            *(
                nn.Sequential(nn.Linear(64, 64, bias=False), nn.Tanh(), nn.Linear(64, 64, bias=False), nn.Tanh())
                for _ in range(8)
            )
        ),
    )
    inputs = torch.rand(1024, 64, requires_grad=True)
    assert (
        compute_peak_bytes(archprof.profile(model, inputs, train=True))
        == (1 + 1 + 6 + 2 + 1 + 3) * 256 * KIB + 2 * 16 * KIB
    )


@pytest.mark.parametrize("wrap", ["plain", "checkpoint", "reentrant", "dropped"])
def test_attention_holds_what_a_real_one_holds(wrap: str) -> None:
    """The fused op of a CPU has another name and keeps the same: query, key, value, result, one number a query."""
    run: dict[str, Callable[..., Any]] = {
        "plain": in_turn(plainly),
        "checkpoint": in_turn(partial(checkpoint, use_reentrant=False)),
        "reentrant": in_turn(partial(checkpoint, use_reentrant=True)),
        "dropped": drops_a_branch,
    }
    model = Runs(run[wrap], parts=nn.ModuleList(Attention() for _ in range(4)))
    inputs = rows().requires_grad_()
    real = [size for _, size in measure_live_bytes(model, [inputs], train=True)]
    profile = archprof.profile(model, inputs, train=True)
    live = sum_live_bytes(profile.storages, len(profile.ops))
    ours = [size for op, size in zip(profile.ops, live, strict=True) if op.signature.name not in NO_WORK]
    if wrap == "reentrant":  # its forward keeps nothing, and the kernel of a CPU still makes the number a query
        ours, real = [max(ours)], [max(real)]
    assert ours == real


def test_a_checkpoint_repeats_attention_whole() -> None:
    """Not the products that meta makes of it, which hold scores that no kernel stores."""
    model = Runs(in_turn(partial(checkpoint, use_reentrant=True)), parts=nn.ModuleList(Attention() for _ in range(2)))
    ops = archprof.profile(model, rows().requires_grad_(), train=True).ops
    phases = [op.phase for op in ops if op.name == "aten.scaled_dot_product_attention"]
    assert phases == ["forward"] * 2 + ["backward"] * 2
    assert not any("softmax" in op.name for op in ops)


FUSED = {
    "flash": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0],
    "flash of a CPU": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[0],
    "efficient": lambda q, k, v: torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True)[0],
    "cudnn": lambda q, k, v: torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)[0],
    "any": functional.scaled_dot_product_attention,
}


@pytest.mark.parametrize("kernel", FUSED)
def test_fused_attention_keeps_its_result(kernel: str) -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        return FUSED[kernel](*m.inner(x).view(2, ROWS // 2, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0))

    profile = archprof.profile(Runs(forward, inner=nn.Linear(WIDTH, 3 * WIDTH)), rows(), train=True)
    (op,) = [op for op in profile.ops if "attention" in op.name and op.phase == "forward"]
    assert profile.storages[profile.tensors[op.outputs[0]].storage].saved


@pytest.mark.parametrize("weights", [True, False])
def test_multi_head_attention_holds_what_a_real_one_holds(weights: bool) -> None:
    inner = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(m: Any, x: torch.Tensor) -> Any:
        x = x.view(4, ROWS // 4, WIDTH)
        return m.inner(x, x, x, need_weights=weights)[0]

    real = max(size for _, size in measure_live_bytes(Runs(forward, inner=inner), [rows()], train=True))
    assert compute_peak_bytes(archprof.profile(Runs(forward, inner=inner), rows(), train=True)) == real


def test_a_batch_norm_makes_no_gradient_that_nobody_wants() -> None:
    """Of an input that needs none, as its kernels on a CPU and a GPU do, and the one of meta does not."""
    compare(nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Tanh(), nn.Linear(WIDTH, 3)), [rows()], train=True)


@pytest.mark.parametrize(
    "give",
    [lambda x: x[:, :1].expand(-1, WIDTH), lambda x: x[:, 0], lambda x: x.t()],
    ids=["expanded", "a slice", "transposed"],
)
def test_a_backward_starts_from_dense_gradients(give: Callable[..., Any]) -> None:
    """A gradient of an output has as many elements, however many the storage has that the output lies in."""
    compare(Runs(lambda m, x: give(m.inner(x)), inner=nn.Linear(WIDTH, WIDTH)), [rows()], train=True)
