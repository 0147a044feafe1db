"""A crafted `.pt2` is refused or profiled: it does not crash the process, nor leave it by another way than in words."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from attack.crafted_programs import Whole
from torch._higher_order_ops import map as map_op
from torch._higher_order_ops import while_loop

import archprof
from archprof.errors import ArchprofError
from archprof.sources.exported import run_limits
from archprof.torchside import free_memory

TESTS = Path(__file__).parents[1]
GIBIBYTES = 2**30


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that is traced on meta, and one that needs values."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("plain", "chooses"):
        with warnings.catch_warnings(action="ignore"):
            program = torch.export.export(Whole(name == "chooses").eval(), (torch.zeros(2, 3, 8, 8),))
        torch.export.save(program, folder / f"{name}.pt2")
    return folder


def attack(folder: Path, first: int, count: int) -> None:
    place = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-m", "attack.crafted_programs", str(folder), str(first), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200, env=os.environ | {"PYTHONPATH": place})
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"program {lines[-1] if lines else first}: {done.returncode}\n{done.stderr[-3000:]}"
    _, refused, _, profiled = lines[-1].split()
    assert int(refused) > count // 10
    assert int(profiled) > count // 20


def test_whole_programs_are_profiled(programs: Path) -> None:
    for name in ("plain", "chooses"):
        assert archprof.profile(str(programs / f"{name}.pt2")).totals.macs > 0


def test_crafted_programs_do_no_harm(programs: Path) -> None:
    attack(programs, 0, 60)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_crafted_programs(programs: Path, part: int) -> None:
    attack(programs, 1_000 * (part + 1), 1_000)


def test_an_op_that_does_not_check_its_indices_runs_on_meta_alone(tmp_path: Path) -> None:
    class Backward(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.aten.max_pool2d_with_indices_backward(
                x, x.repeat_interleave(2, 2).repeat_interleave(2, 3), [2, 2], [2, 2], [0, 0], [1, 1], False, x.long()
            )

    program = torch.export.export(Backward(), (torch.zeros(1, 1, 2, 2),))
    torch.export.save(program, tmp_path / "x.pt2")
    assert archprof.profile(str(tmp_path / "x.pt2")).layers

    class OnValues(Backward):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[super().forward(x).sum((1, 2, 3)) < 1]

    torch.export.save(torch.export.export(OnValues(), (torch.zeros(1, 1, 2, 2),)), tmp_path / "y.pt2")
    with pytest.raises(ArchprofError, match="does not check"):
        archprof.profile(str(tmp_path / "y.pt2"))


def export(tmp_path: Path, forward: Callable[[torch.Tensor], Any], *shape: int) -> str:
    """A program on values, for it chooses by them first."""

    class Forward(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return forward(x[x.flatten(1).sum(1) > -1e9])

    path = tmp_path / "x.pt2"
    torch.export.save(torch.export.export(Forward(), (torch.ones(shape),), strict=False), path)
    return str(path)


WILD = {
    "expand, clone": lambda x: x.new_zeros(1).expand(2**29).clone(),
    "repeat": lambda x: x.repeat(1, 2**27),
    "cat": lambda x: torch.cat([x.new_zeros(1).expand(2**27)] * 3),
    "pad": lambda x: torch.nn.functional.pad(x, (0, 2**29)),
    "repeat_interleave": lambda x: x.repeat_interleave(torch.full((4,), 2**62), dim=1, output_size=0),
    "one_hot": lambda x: torch.nn.functional.one_hot(torch.arange(4), 2**30),
    "outer": lambda x: torch.outer(torch.zeros(2**16), torch.zeros(2**16)),
    "masked_select": lambda x: x.masked_select(torch.zeros(1, 1, 1, dtype=torch.bool).expand(2**27, 1, 1)),
}


@pytest.mark.parametrize("kind", WILD)
def test_no_op_makes_a_tensor_that_fills_the_memory(tmp_path: Path, kind: str) -> None:
    path = export(tmp_path, WILD[kind], 2, 4)
    with pytest.raises(ArchprofError, match="for more than 268435456 elements"):
        archprof.profile(path)


MIB = 2**20


def grow(x: torch.Tensor) -> torch.Tensor:
    """Three of 30 MiB each that live side by side, none of which is much."""
    made = [x.repeat(1, 30 * MIB // 4 // 8) for _ in range(3)]
    return made[0] + made[1] + made[2]


@pytest.mark.parametrize(("free", "is_there"), [(1000, True), (80, False)])
def test_results_that_live_side_by_side_need_room(
    free: int, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(tmp_path, grow, 2, 4)
    monkeypatch.setattr(free_memory, "read_free_bytes", lambda: free * MIB)
    if is_there:
        assert archprof.profile(path).totals.flops > 0
        return
    with pytest.raises(ArchprofError, match=rf"with values, needs 90.00 MiB .*; {free}.00 MiB are free"):
        archprof.profile(path)


@pytest.mark.parametrize("on_values", [False, True])
def test_a_loop_that_never_ends_is_refused(on_values: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a file that needs values, and one with more rounds than anyone waits for, without values."""
    monkeypatch.setattr(run_limits, "MOST_STEPS", 200)

    class Loops(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            if on_values:
                return while_loop(lambda at, y: at >= 0, lambda at, y: (at + 1, y * 1.0), (torch.tensor(0), x[0]))[1]
            return map_op(lambda row: row * 2, x)

    program = torch.export.export(Loops(), (torch.ones(300, 2),), strict=False)
    torch.export.save(program, tmp_path / "x.pt2")
    with pytest.raises(ArchprofError, match="more than 200 ops and steps"):
        archprof.profile(str(tmp_path / "x.pt2"))


class Recurs(torch.nn.Module):
    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.net = getattr(torch.nn, kind)(4, 4, **options)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.net(x)[0]
        return y[y.flatten(1).sum(1) > -1e9]


@pytest.mark.parametrize(
    ("kind", "options", "steps"),
    [
        ("LSTM", {}, 50),
        ("GRU", {"bidirectional": True}, 100),
        ("RNN", {"num_layers": 3, "batch_first": True}, 3 * 7),
    ],
)
def test_steps_of_recurrent_layers_count(
    kind: str, options: dict[str, Any], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: 50 rows of 7; what else the program does are fewer than 20 ops."""
    program = torch.export.export(Recurs(kind, **options).eval(), (torch.ones(50, 7, 4),), strict=False)
    torch.export.save(program, tmp_path / "x.pt2")
    monkeypatch.setattr(run_limits, "MOST_STEPS", steps + 20)
    assert archprof.profile(str(tmp_path / "x.pt2")).totals.macs > 0
    monkeypatch.setattr(run_limits, "MOST_STEPS", steps)
    with pytest.raises(ArchprofError, match=f"more than {steps} ops and steps"):
        archprof.profile(str(tmp_path / "x.pt2"))


def test_boxes_of_a_detector_are_aligned_from_a_file(tmp_path: Path) -> None:
    """And refused where one is of no image, or has no place."""
    vision = pytest.importorskip("torchvision")

    def align(x: torch.Tensor, number: float, place: float) -> Any:
        boxes = torch.tensor([[number, 1.0, 1.0, place, 3.0]])
        return vision.ops.roi_align(x, boxes, (2, 2))

    path = export(tmp_path, lambda x: align(x, 1.0, 3.0), 2, 3, 4, 4)
    assert archprof.profile(path).ran.device == "cpu"
    for number, place in ((2.0, 3.0), (-1.0, 3.0), (1e9, 3.0), (1.0, float("nan")), (1.0, 1e30)):
        path = export(tmp_path, partial(align, number=number, place=place), 2, 3, 4, 4)
        with pytest.raises(ArchprofError, match="a box of no image, or of no size"):
            archprof.profile(path)
