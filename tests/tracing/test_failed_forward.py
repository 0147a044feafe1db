"""What is known of a model whose forward failed: all that its modules hold, and of the work what ran until then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.facts.records import Profile

WORK = ("macs", "flops")
ACTIVATIONS = ("activation_elements", "activation_bytes")


def stopped(model: nn.Module, shape: tuple[int, ...], **options: Any) -> Profile:
    with pytest.raises(archprof.TraceError) as error:
        archprof.profile(model, torch.zeros(shape), **options)
    profile: Profile = error.value.profile
    profile.check()
    return profile


def net(last: nn.Module) -> nn.Module:
    """The second layer fails; the last is not reached, and holds buffers, too."""
    return nn.Sequential(nn.Linear(8, 16), nn.Linear(17, 4), nn.BatchNorm1d(4), last)


def test_parameters_behind_the_failure_are_counted(tmp_path: Path) -> None:
    model = net(nn.Linear(4, 2))
    profile = stopped(model, (3, 8))
    assert profile.totals.params == sum(p.numel() for p in model.parameters())
    assert profile.totals.param_bytes == sum(4 * p.numel() for p in model.parameters())
    assert profile.totals.buffers == sum(b.numel() for b in model.buffers())
    assert (profile.totals.macs, profile.totals.complete) == (3 * 8 * 16, False)
    assert profile.totals.lower_bounds == (*WORK, *ACTIVATIONS)
    assert archprof.load(_saved(profile, tmp_path)) == profile


def test_the_rows_mark_work_alone() -> None:
    table = stopped(net(nn.Linear(4, 2)), (3, 8)).table(columns=["params", "macs"])
    assert [(row.short, row.cells[1:], row.bounds) for row in table.rows] == [
        ("0", (144, 384), frozenset()),
        ("1", (72, 0), {"macs"}),
        ("2", (8, 0), {"macs"}),
        ("3", (10, 0), {"macs"}),
    ]
    assert table.total is not None
    assert table.total.bounds == {"macs"}


def test_a_lazy_layer_behind_the_failure_has_no_size(tmp_path: Path) -> None:
    profile = stopped(net(nn.LazyLinear(2)), (3, 8), train=True)
    assert profile.unsized == ("3.weight", "3.bias")
    assert profile.totals.params == 144 + 72 + 8
    assert set(profile.totals.lower_bounds) > {"params", "trainable_params", "param_bytes", *WORK}
    table = profile.table(columns=["params"])
    assert table.total is not None
    assert "params" in table.total.bounds
    assert any("3.weight, 3.bias" in note for note in table.notes)
    assert archprof.load(_saved(profile, tmp_path)).unsized == profile.unsized


def test_a_lazy_layer_that_nobody_calls_has_no_size() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.idle = nn.Linear(8, 4), nn.LazyLinear(2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.a(x)

    totals = archprof.profile(Idle(), torch.zeros(1, 8)).totals
    assert (totals.params, totals.complete) == (36, False)
    assert totals.lower_bounds == ("params", "trainable_params", "buffers", "param_bytes")


def test_an_op_without_a_rule_leaves_what_modules_hold(tmp_path: Path) -> None:
    class Solves(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return torch.linalg.eigh(x)[0]

    profile = archprof.profile(Solves(), torch.zeros(3, 3))
    assert profile.totals.lower_bounds == WORK
    assert json.loads(_saved(profile, tmp_path).read_text())["totals"]["lower_bounds"] == list(WORK)


@pytest.mark.parametrize(("most", "kept"), [(234, True), (233, False)])
def test_a_check_of_parameters_is_exact(most: int, kept: bool) -> None:
    model, inputs = net(nn.Linear(4, 2)), torch.zeros(3, 8)
    (verdict,) = archprof.check([model], inputs=inputs, max_params=most)
    assert verdict.ok == kept
    with pytest.raises(archprof.TraceError):
        archprof.check([model], inputs=inputs, max_params=most, max_macs="1M")


def _saved(profile: Profile, folder: Path) -> Path:
    path = folder / "x.json"
    profile.save(path)
    return path


def test_what_fails_in_the_backward_is_not_said_to_fail_in_the_forward() -> None:
    class Floors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x).floor_divide(3)  # torch has no derivative of it, and says so in the backward

    assert archprof.profile(Floors(), torch.zeros(2, 8)).totals.complete
    with pytest.raises(archprof.TraceError, match="The backward of Floors failed"):
        archprof.profile(Floors(), torch.zeros(2, 8), train=True)
