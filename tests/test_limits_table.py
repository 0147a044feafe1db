"""The guide's table of what archprof knows: every row is held by the test of its name in `HELD`."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import builders
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import archprof
from archprof.analysis.other_tools import count_as_tool
from archprof.errors import ArchprofError, TraceError, UsageError
from archprof.facts.records import Profile

pytestmark = pytest.mark.filterwarnings("ignore")

GUIDE = Path(archprof.__file__).parent / "guide" / "limits.md"
ROWS = torch.rand(3, 4)
PRODUCT = 3 * 4 * 4
HELD: dict[str, Callable[[], None]] = {}


class Runs(nn.Module):
    """A module whose forward is the given function of it and its input."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.body = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, x)


def row(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter the check of a row into `HELD`."""
    return lambda check: HELD.setdefault(name, check)


def line() -> nn.Linear:
    return nn.Linear(4, 4, bias=False)


def profiled(forward: Callable[..., Any], inputs: torch.Tensor = ROWS, train: bool = False, **parts: Any) -> Profile:
    profile = archprof.profile(Runs(forward, **parts), inputs, train=train)
    profile.check()
    return profile


def unknown_ops(profile: Profile) -> set[str]:
    return {op.name for op in profile.ops if op.status == "unknown"}


def test_the_table_has_these_rows() -> None:
    table = GUIDE.read_text().partition("## What archprof knows")[2]
    names = re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)[1:]
    assert names == list(HELD)


@row("transforms of `torch.func`")
def transforms() -> None:
    def attend(t: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(t, t, t)

    profile = profiled(lambda m, q: torch.func.vmap(attend)(q), torch.rand(5, 2, 3, 7, 4))
    assert (profile.totals.macs, profile.totals.complete) == (5 * 2 * 3 * 7 * 7 * (4 + 4), True)


@row("values")
def values() -> None:
    def asks(m: Any, x: torch.Tensor) -> Any:
        return m.inner(x) if float(x.sum()) > 0 else x

    given = profiled(asks, inner=line())
    assert (given.totals.macs, given.ran.device) == (PRODUCT, "cpu")
    assert "with the values given" in given.notes[0]
    assert "with random inputs" in archprof.profile(Runs(asks, inner=line()), (3, 4)).notes[0]


@row("weights that are no parameters")
def weights_elsewhere() -> None:
    held = [line(), line()]
    profile = profiled(lambda m, x: m.held[1](m.held[0](x)), held=held)
    assert (profile.totals.params, profile.totals.macs) == (2 * 16, 2 * PRODUCT)


@row("weights without a shape")
def lazy() -> None:
    profile = profiled(lambda m, x: m.inner(x), inner=line(), idle=nn.LazyLinear(3))
    assert "params" in profile.totals.lower_bounds
    assert any("idle.weight" in note for note in profile.table().notes)


@row("moves between devices")
def moves() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        with torch.autograd.graph.save_on_cpu():
            return m.inner(x.to("cpu")).tanh()

    profile = profiled(forward, train=True, inner=line())
    assert not any(op.name == "aten._to_copy" and op.bytes_moved for op in profile.ops)
    assert profile.totals.activation_elements == 2 * 12


@row("outputs that are objects")
def objects() -> None:
    normal = profiled(lambda m, x: torch.distributions.Normal(m.inner(x), 1.0, validate_args=False), train=True,
                      inner=line())  # fmt: skip
    assert (normal.totals.backward_macs, normal.totals.complete) == (PRODUCT, True)
    hidden = profiled(lambda m, x: (m.inner(x), object())[1], train=True, inner=line())
    assert unknown_ops(hidden) == {"a backward"}
    assert "backward_macs" in hidden.totals.lower_bounds


@row("threads")
def threads() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return m.last(pool.submit(m.first, x).result())

    assert profiled(forward, first=line(), last=line()).totals.macs == 2 * PRODUCT


@row("numpy")
def numpy() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        found = m.first(x).detach().numpy()
        return m.last(torch.from_numpy(found @ found.T @ found))

    profile = profiled(forward, first=line(), last=line())
    assert unknown_ops(profile) == {"python.numpy"}
    assert (profile.totals.macs, profile.totals.lower_bounds) == (2 * PRODUCT, ("macs", "flops"))


@row("chance")
def chance() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        return m.inner(x) if torch.rand(()) < 0.5 else x

    profile = profiled(forward, train=True, inner=line())
    assert profile.totals.macs == PRODUCT
    assert "random number decides" in profile.notes[0]


@row("gradients inside forward")
def inner_gradients() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        x.requires_grad_()
        return torch.autograd.grad(m.inner(x).tanh().sum(), x, create_graph=True)[0]

    assert profiled(forward, train=True, inner=line()).totals.macs == 2 * PRODUCT
    profile = profiled(forward, inner=line())
    assert profile.totals.macs == 2 * PRODUCT
    assert "gradients on" in profile.notes[0]


@row("higher-order ops")
def higher_order() -> None:
    from torch._higher_order_ops.associative_scan import associative_scan
    from torch.nn.attention.flex_attention import flex_attention

    totals = profiled(lambda m, q: flex_attention(q, q, q), torch.rand(1, 2, 128, 16)).totals
    assert (totals.macs, totals.complete) == (2 * 2 * 128 * 128 * 16, True)
    taken = profiled(lambda m, x: torch.cond(x.sum() > 0, lambda y: y @ y.mT, lambda y: y, (x,)))
    assert taken.totals.macs == 3 * 3 * 4
    assert any("value" in note for note in taken.notes)
    scanned = profiled(lambda m, x: associative_scan(torch.add, x, 0, combine_mode="generic"))
    assert scanned.totals.macs == 0


@torch.library.custom_op("archprof_tests::product", mutates_args=())
def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return 2 * (a @ b)


@row("operators of your own")
def own_operators() -> None:
    profile = profiled(lambda m, x: product(m.inner(x), m.inner.weight), inner=line())
    assert unknown_ops(profile) == {"archprof_tests.product"}
    assert (profile.totals.macs, profile.totals.lower_bounds) == (PRODUCT, ("macs", "flops"))


@row("sharded or freed tensors")
def freed() -> None:
    weight = nn.Parameter(torch.zeros(4, 4))
    weight.untyped_storage().resize_(0)
    assert profiled(lambda m, x: x @ m.weight, weight=weight).totals.macs == PRODUCT


@row("deep nests")
def deep() -> None:
    def nest(levels: int) -> nn.Module:
        net: nn.Module = line()
        for _ in range(levels):
            net = nn.Sequential(net)
        return net

    assert archprof.profile(nest(150), ROWS).totals.macs == PRODUCT
    with pytest.raises(TraceError, match="RecursionError"):
        archprof.profile(nest(900), ROWS)


@row("checkpoints")
def checkpoints() -> None:
    profile = profiled(lambda m, x: checkpoint(m.inner, x, use_reentrant=False).sum(), train=True,
                       inner=nn.Sequential(line(), nn.Tanh(), line(), nn.Tanh()))  # fmt: skip
    repeated = [op for op in profile.ops if op.phase == "backward" and op.name == "aten.tanh"]
    assert len(repeated) == 2


@row("forwards that fail")
def failed() -> None:
    with pytest.raises(TraceError) as error:
        archprof.profile(nn.Sequential(line(), nn.Linear(5, 1), line()), ROWS)
    totals = error.value.profile.totals
    assert (totals.params, totals.macs) == (16 + 6 + 16, PRODUCT)
    assert "macs" in totals.lower_bounds
    assert "params" not in totals.lower_bounds


@row("sparse products")
def sparse() -> None:
    profile = profiled(lambda m, x: torch.sparse.mm(m.sparse, x), sparse=torch.eye(3).to_sparse())
    assert not profile.totals.complete
    assert unknown_ops(profile)


@row("nested tensors")
def nested() -> None:
    with pytest.raises(ArchprofError, match=r"[Nn]ested"):
        profiled(lambda m, x: torch.nested.as_nested_tensor([x, x[:2]]) * 2)


@row("meta and real tensors")
def two_passes() -> None:
    """`tests/tracing/test_two_passes.py` has more; here a norm in evaluation."""

    def asks(m: Any, x: torch.Tensor) -> Any:
        return m.inner(x) * float(m.asked and x.sum())

    meta, real = (profiled(asks, inner=nn.BatchNorm1d(4), asked=asked) for asked in (False, True))
    made = [sum(one.nbytes for one in each.storages if one.role == "auxiliary") for each in (meta, real)]
    assert made == [2 * 4 * 4, 0]
    assert (meta.notes, real.notes != ()) == ((), True)


@row("other tools' numbers")
def other_tools() -> None:
    found = count_as_tool(profiled(lambda m, x: torch.tensordot(x, x, ([1], [1]))), "fvcore")
    assert (found.low, found.high) == (0, 3 * 3 * 4)


@row("times of another device")
def other_device() -> None:
    with pytest.raises(UsageError, match="says nothing of times on"):
        archprof.report([builders.measured()], "x.html", device="NVIDIA L4")


@pytest.mark.parametrize("name", HELD)
def test_row(name: str) -> None:
    HELD[name]()
