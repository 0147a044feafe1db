"""What fills memory: parts that add up to the peaks, and the same answer by the library and by the command."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import archprof
from archprof import cli
from archprof.analysis import memory
from archprof.facts.liveness import compute_peak_bytes
from archprof.predicting.devices import resolve_device
from archprof.predicting.memory import CONTEXT_BYTES, Estimate, predict_memory
from archprof.predicting.memory_capacity import GIB, judge_size
from archprof.predicting.memory_events import Workspaces, list_changes
from archprof.predicting.workspaces import CUBLAS_BYTES, CUBLAS_BYTES_HOPPER, choose_workspaces

BLOCK = 512


def blocks(nbytes: int) -> int:
    return math.ceil(nbytes / BLOCK) * BLOCK


def make_perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 512))


def test_the_allocated_peak_of_a_forward_by_hand() -> None:
    """Weights; the input; while the second product runs, its input and output; cuBLAS's workspace from the first on."""
    weights = [blocks(n * 4) for n in (1024 * 2048, 2048, 2048 * 512, 512)]
    hidden, first, last = 64 * 2048 * 4, 64 * 1024 * 4, 64 * 512 * 4
    profile = archprof.profile(make_perceptron(), (64, 1024))
    # while the ReLU runs, both hidden maps are there, which is more than a hidden map and the output
    live = sum(weights) + first + 2 * hidden
    assert max(hidden + last, 2 * hidden) == 2 * hidden
    assert predict_memory(profile, Workspaces()).allocated_peak_bytes.value == live
    with_cublas = predict_memory(profile, choose_workspaces(None)).allocated_peak_bytes.value
    assert with_cublas == live + CUBLAS_BYTES


def test_the_peak_of_adam_is_in_its_step() -> None:
    """Weights, gradients, two moments and the root: five times the weights; activations are gone."""
    net = nn.Sequential(nn.Linear(4096, 4096, bias=False), nn.Linear(4096, 4096, bias=False))
    answer = archprof.predict_memory(net, (1, 4096), train=True, optimizer="adam")
    weight = 4096 * 4096 * 4
    small = 4 * 4096 * 4  # the input, the output and what hides in rounding
    assert answer.prediction.peak.phase == "optimizer"
    assert 0 <= answer.live_peak_bytes.value - 5 * 2 * weight <= small
    assert answer.prediction.peak.categories["optimizer state"] == 2 * 2 * weight
    first = answer.prediction.first_step_peak
    assert first is not None
    assert first <= answer.allocated_peak_bytes.value


@pytest.mark.parametrize("options", [{}, {"train": True}, {"train": True, "optimizer": "sgd(momentum=0.9)"}])
def test_the_parts_add_up(options: dict[str, object]) -> None:
    answer = archprof.predict_memory("resnet18", batch=4, **options)
    used = answer.device_used_bytes.value
    assert sum(answer.prediction.peak.categories.values()) == used == answer.reserved_peak_bytes.value + CONTEXT_BYTES
    for moment in answer.prediction.phases:
        assert sum(moment.categories.values()) == moment.reserved
    table = answer.table()
    assert table.total is not None
    for place in range(1, len(table.columns)):
        assert sum(row.cells[place] or 0 for row in table.rows) == table.total.cells[place]
    assert compute_peak_bytes(answer.profile) == answer.live_peak_bytes.value
    assert (
        answer.live_peak_bytes.value
        <= answer.allocated_peak_bytes.value
        <= answer.reserved_peak_bytes.value
        <= answer.device_used_bytes.value
    )


def test_the_layers_at_the_peak_are_the_live_bytes() -> None:
    profile = archprof.profile(make_perceptron(), (64, 1024), train=True, optimizer="adam")
    rows = memory.tabulate_layers_at_peak(profile).records()
    inputs = 64 * 1024 * 4
    assert sum(row["bytes"] for row in rows) in (compute_peak_bytes(profile), compute_peak_bytes(profile) - inputs)
    state = next(row["bytes"] for row in rows if row["layer"] == "(optimizer state)")
    assert state == 2 * 4 * sum(p.numel() for p in make_perceptron().parameters()) + 4 * 4


def test_every_block_is_given_back_once_and_no_state_twice() -> None:
    profile = archprof.profile("lenet5", batch=2, train=True, optimizer="adam", accumulate=2)
    alive: set[int] = set()
    for change in list_changes(profile, Workspaces(lambda op: (100,)), steps=4):
        if change.nbytes is None:
            alive.remove(change.block)
        else:
            assert change.block not in alive
            alive.add(change.block)
    kept = [one for one in profile.storages if one.role in ("parameter", "buffer", "gradient")]
    state = [one for one in profile.storages if one.role == "optimizer state" and one.nbytes > 8]
    assert len(alive) == len(kept) + len(state)


def test_steps_of_the_steady_state_are_alike() -> None:
    profile = archprof.profile("lenet5", batch=2, train=True, optimizer="adamw")
    by_step: list[list[tuple[int | None, int]]] = [[], [], []]
    for change in list_changes(profile, Workspaces(), steps=3):
        by_step[change.step].append((change.nbytes, change.position))
    assert by_step[1] == by_step[2] != by_step[0]


@pytest.mark.parametrize(
    ("name", "kept"), [(None, CUBLAS_BYTES), ("NVIDIA L4", CUBLAS_BYTES), ("NVIDIA H200 SXM", CUBLAS_BYTES_HOPPER)]
)
def test_the_workspace_of_cublas(name: str | None, kept: int) -> None:
    assert choose_workspaces(name).kept_bytes == kept


def test_training_pays_for_cublas_twice() -> None:
    plain, train = (archprof.profile(nn.Linear(8, 8), (2, 8), train=train) for train in (False, True))
    made = [
        [change.nbytes for change in list_changes(profile, choose_workspaces(None)) if change.is_workspace]
        for profile in (plain, train)
    ]
    assert made == [[CUBLAS_BYTES], [CUBLAS_BYTES] * 2]


def test_a_convolution_by_its_shapes() -> None:
    """A depthwise one borrows nothing; a large window copies what it reads; a small one 115 MB, a tiny one less."""
    shapes = {
        "depthwise": (nn.Conv2d(64, 64, 3, groups=64), (8, 64, 66, 66), 0),
        "large": (nn.Conv2d(64, 64, 3, padding=1), (64, 64, 64, 64), 2 * 64 * 64 * 64 * 64 * 4 + 64 * 64 * 9 * 4),
        "product": (nn.Conv2d(64, 64, 1), (64, 64, 64, 64), 115_000_000),
        "tiny": (nn.Conv2d(1, 1, 1), (1, 1, 8, 8), 32 * (64 + 64 + 1) * 4),
    }
    for net, shape, expected in shapes.values():
        profile = archprof.profile(net, shape, train=True)
        lent = [sum(choose_workspaces(None).lend(op)) for op in profile.ops if op.name == "aten.convolution_backward"]
        assert lent == [expected]


def test_whether_it_fits() -> None:
    device = resolve_device("RTX 4090")
    most = judge_size(Estimate(0, 0, 0), device).capacity
    assert 23 * GIB < most < 24 * GIB
    words = [
        judge_size(Estimate(0, *bounds), device).word
        for bounds in ((1, most), (most, most + 1), (most + 1, None), (1, None))
    ]
    assert words == ["fits", "too close to say", "does not fit", "too close to say"]


def test_a_lower_bound_says_so() -> None:
    class Strange(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x)[0]

    answer = archprof.predict_memory(Strange(), (4, 4))
    assert answer.live_peak_bytes.high is answer.device_used_bytes.high is None
    assert not memory.tabulate_peaks(answer).complete


def test_the_command_writes_what_the_function_returns() -> None:
    words = ["memory", "lenet5", "--batch", "4", "--train", "--optimizer", "adamw(foreach=False)", "--device", "4090"]
    shown = CliRunner().invoke(cli.app, [*words, "--format", "json"])
    answer = archprof.predict_memory(
        "lenet5", batch=4, train=True, optimizer="adamw(foreach=False)", device="NVIDIA GeForce RTX 4090"
    )
    told = json.loads(shown.stdout)
    assert told == json.loads(answer.to_json())
    for name in memory.PEAKS:
        assert told[name] == getattr(answer, name)._asdict()
    assert told["device"]["verdict"] == "fits"
    text = CliRunner().invoke(cli.app, words).stdout
    assert "It fits on the NVIDIA GeForce RTX 4090" in text
    assert "Over a step: " in text


def test_the_timeline_is_a_line_of_blocks() -> None:
    assert memory.draw_timeline((0, 25, 50, 100)) == "▁▃▅█"
    assert memory.draw_timeline(tuple(range(1000)), width=8) == "▁▂▃▄▅▆▇█"


def test_the_kernels_of_attention_are_said() -> None:
    answer = archprof.predict_memory(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (2, 5, 32), train=True)
    assert "Attention is taken to run as: efficient (1)." in memory.tabulate_peaks(answer).notes


def test_the_peak_has_a_name_of_its_own() -> None:
    """Two layers of 4 x 4 weights in float32, a batch of 3: the weights, the input and both results."""
    profile = archprof.profile(nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU()), "4", batch=3)
    assert memory.peak(profile) == 64 + 3 * 3 * 16
