"""Exported programs with ops that take graphs. Oracle: the module itself, profiled, and counts by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._higher_order_ops import map as map_op
from torch._higher_order_ops import scan, while_loop
from tracing.odd import Runs, line

import archprof

pytestmark = pytest.mark.filterwarnings("ignore")

X, STEPS = torch.rand(4, 8), torch.rand(5, 4, 8)
LINE = 4 * 8 * 8


def choose(self: Any, x: torch.Tensor) -> Any:
    y = self.a(x)
    return self.b(torch.cond(x.sum() > self.at, lambda t: self.a(t), lambda t: self.b(self.b(t)), (y,)))


def choose_inside(self: Any, x: torch.Tensor) -> Any:
    def inner(t: torch.Tensor) -> torch.Tensor:
        return torch.cond(t.sum() > -1e9, lambda s: self.a(s), lambda s: s.clone(), (t,))

    return torch.cond(x.sum() > -1, inner, lambda t: t.clone(), (x,))


def loop(self: Any, x: torch.Tensor) -> Any:
    return while_loop(lambda step, t: step < 3, lambda step, t: (step + 1, self.a(t)), (torch.tensor(0), x))[1]


def accumulate(self: Any, xs: torch.Tensor) -> Any:
    return scan(lambda state, x: (self.a(state) + x, state * 2), xs[0], xs)[1]


def partly_without_gradients(self: Any, x: torch.Tensor) -> Any:
    y = self.a(x)
    with torch.no_grad():
        z = self.b(x)
    return y + z


def mixed(self: Any, x: torch.Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return self.a(x)


CASES: dict[str, tuple[Any, torch.Tensor, int]] = {
    "cond": (choose, X, 3 * LINE),
    "cond in cond": (choose_inside, X, LINE),
    "while_loop": (loop, X, 3 * LINE),
    "scan": (accumulate, STEPS, 5 * LINE),
    "map": (lambda self, xs: map_op(lambda x: self.a(x), xs), STEPS, 5 * LINE),
    "no_grad": (partly_without_gradients, X, 2 * LINE),
    "autocast": (mixed, X, LINE),
}


@pytest.mark.parametrize("name", CASES)
def test_a_program(name: str, tmp_path: Path) -> None:
    run, x, macs = CASES[name]
    model = Runs(run, a=line(8, 8), b=line(8, 8), at=-1e9)
    program = torch.export.export(model, (x,))
    torch.export.save(program, tmp_path / "program.pt2")
    for subject, inputs in ((str(tmp_path / "program.pt2"), None), (program.module(), x), (model, x)):
        profile = archprof.profile(subject, inputs)
        profile.check()
        assert (profile.totals.macs, profile.totals.complete) == (macs, True)


def test_values_choose_in_a_file(tmp_path: Path) -> None:
    for at, macs in ((-1e9, 3 * LINE), (1e9, 4 * LINE)):
        program = torch.export.export(Runs(choose, a=line(8, 8), b=line(8, 8), at=at), (X,))
        torch.export.save(program, tmp_path / "program.pt2")
        profile = archprof.profile(str(tmp_path / "program.pt2"))
        assert profile.totals.macs == macs
        assert any("In cond values decide" in note for note in profile.notes)
