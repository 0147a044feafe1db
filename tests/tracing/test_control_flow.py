"""Ops that take functions: `cond`, `while_loop`, `scan`, `map`, compiled regions. Counts by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops import associative_scan, scan, while_loop
from torch._higher_order_ops import map as map_op
from torch.utils.checkpoint import checkpoint
from tracing.odd import Runs, line

import archprof

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.rand(4, 8)
LINE = 4 * 8 * 8
STEPS = torch.rand(5, 4, 8)


def choose(self: Any, x: torch.Tensor) -> Any:
    return torch.cond(x.sum() > self.at, lambda t: self.a(t), lambda t: self.b(self.b(t)), (x,))


def choose_by_size(self: Any, x: torch.Tensor) -> Any:
    return torch.cond(x.shape[0] > self.at, lambda t: self.a(t), lambda t: self.b(self.b(t)), (x,))


def loop(self: Any, x: torch.Tensor) -> Any:
    return while_loop(lambda step, t: step < 3, lambda step, t: (step + 1, self.a(t)), (torch.tensor(0), x))[1]


def loop_by_values(self: Any, x: torch.Tensor) -> Any:
    return while_loop(lambda t: t.abs().sum() > self.at + 1e9, lambda t: (self.a(t),), (x,))[0]


def accumulate(self: Any, xs: torch.Tensor) -> Any:
    return scan(lambda state, x: (self.a(state) + x, state * 2), xs[0], xs)[1]


def prefix_products(self: Any, xs: torch.Tensor) -> Any:
    return associative_scan(lambda a, b: a @ b, self.a.weight * xs[:, :1, :, None], 0, combine_mode="generic")


region = torch.compiler.nested_compile_region(lambda x, w: (x @ w).relu())

CASES: dict[str, tuple[Any, torch.Tensor, int, int | None, bool]] = {
    # what runs, its input, MACs forward and backward, and whether values decide
    "the branch that a size chooses": (choose_by_size, X, LINE, LINE, False),
    "a loop of counted steps": (loop, X, 3 * LINE, 5 * LINE, True),
    "a scan": (accumulate, STEPS, 5 * LINE, None, False),
    "a map": (lambda self, xs: map_op(lambda x: self.a(x), xs), STEPS, 5 * LINE, 5 * LINE, False),
    "a compiled function": (
        lambda self, x: torch.compile(lambda t: (t @ self.a.weight).relu())(x), X, LINE, LINE, False
    ),
    "a region": (lambda self, x: region(region(x, self.a.weight), self.a.weight), X, 2 * LINE, 3 * LINE, False),
    "a region in a compiled function": (
        lambda self, x: torch.compile(lambda t: region(t, self.a.weight))(x), X, LINE, LINE, False
    ),
    "a checkpoint of a compiled function": (
        lambda self, x: checkpoint(
            torch.compile(lambda t: (t @ self.a.weight).relu()), x, use_reentrant=False
        ), X, LINE, 2 * LINE, False
    ),
}  # fmt: skip


def make(run: Any, at: float = 0) -> nn.Module:
    return Runs(run, a=line(8, 8), b=line(8, 8), at=at)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_control_flow(name: str, train: bool) -> None:
    run, x, macs, backward, decided = CASES[name]
    profile = archprof.profile(make(run), x, train=train)
    profile.check()
    assert (profile.totals.macs, profile.totals.complete) == (macs, True)
    assert profile.ran.device == "meta"
    if train and backward is not None:
        assert profile.totals.backward_macs == backward
    assert any("values decide" in note for note in profile.notes) == decided


@pytest.mark.parametrize(("at", "macs"), [(-1.0, LINE), (1e9, 2 * LINE)])
def test_the_branch_that_values_choose(at: float, macs: int) -> None:
    for train in (False, True):
        profile = archprof.profile(make(choose, at), X, train=train)
        assert (profile.totals.macs, profile.ran.device) == (macs, "cpu")
        assert any("In cond values decide what runs" in note for note in profile.notes)


def test_the_work_of_a_branch_is_its_modules() -> None:
    profile = archprof.profile(make(choose, 1e9), X)
    rows = {(layer.path, layer.call): cost.macs for layer, cost in zip(profile.layers, profile.costs, strict=True)}
    assert rows["b", 0] == rows["b", 1] == LINE


def test_a_loop_that_values_end() -> None:
    profile = archprof.profile(make(loop_by_values), X)
    assert (profile.totals.macs, profile.ran.device) == (0, "cpu")


def test_an_associative_scan_is_its_products() -> None:
    profile = archprof.profile(make(prefix_products), torch.rand(8, 4, 8))
    combined = [op for op in profile.ops if op.macs]
    assert sum(op.inputs[0] != op.inputs[1] for op in combined) == len(combined) == 5  # of 4, 2, 1, 1 and 3 products
    assert profile.totals.macs == 11 * 8 * 8 * 8


def test_a_kernel_of_triton_is_unknown() -> None:
    triton = pytest.importorskip("triton")

    def kernel(x: Any, out: Any, n: Any) -> None:
        pass

    kernel.__module__ = __name__
    wrapped = torch.library.wrap_triton(triton.jit(kernel))

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        out = torch.empty_like(y)
        wrapped[(1,)](y, out, n=4)
        return out

    profile = archprof.profile(make(run), X)
    assert (profile.totals.macs, profile.totals.complete) == (LINE, False)
    assert [op.name for op in profile.ops if op.status == "unknown"] == ["higher_order.triton_kernel_wrapper_mutation"]


def test_an_op_of_triton_kernels_is_unknown() -> None:
    @torch.library.triton_op("control_flow::twice", mutates_args={})
    def twice(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    profile = archprof.profile(make(lambda self, x: twice(self.a(x))), X)
    assert (profile.totals.macs, profile.totals.complete) == (LINE, False)


FIRST = """
import torch, archprof
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)

    def forward(self, x):
        return torch.cond(x.sum() > -1, lambda t: self.a(t), lambda t: t.clone(), (x,))

import sys
assert "torch._dynamo" not in sys.modules
profile = archprof.profile(Net(), torch.rand(4, 8))
print(profile.totals.macs)
f = torch.compile(lambda t: t + 1, backend=lambda graph, inputs: print("compiled") or graph)
f(torch.rand(3))
"""


def test_a_process_that_has_not_met_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == [str(LINE), "compiled"], done.stderr
