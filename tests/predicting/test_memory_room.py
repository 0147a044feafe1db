"""The least memory in which steps go through, by hand: what is cached is given back first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import archprof
from archprof.predicting.memory import LAZY_CONTEXT_BYTES
from archprof.predicting.memory_events import Change, list_changes
from archprof.predicting.memory_room import PRECISION, find_least_room, goes_through
from archprof.predicting.workspaces import CUBLAS_BYTES, choose_workspaces

MIB = 1 << 20


def list_two(first: int, second: int) -> list[Change]:
    """One block after another, never both at once."""
    return [Change(1, first, 0, 0), Change(1, None, 0, 0), Change(2, second, 1, 0)]


def test_a_segment_that_is_kept_unused_is_given_back() -> None:
    """12 MiB are cached as 14 are asked for: 26 are reserved where there is plenty, and 14 are enough."""
    changes = list_two(12 * MIB, 14 * MIB)
    assert goes_through(changes, 14 * MIB)
    assert not goes_through(changes, 14 * MIB - 1)
    found = find_least_room(changes, 14 * MIB, 26 * MIB)
    assert 14 * MIB <= found <= 14 * MIB * (1 + 2 * PRECISION)


def test_a_segment_in_use_is_not() -> None:
    """A block of 11 MiB takes the front of a free segment of 30, whose other 19 are too few for 20."""
    changes = [*list_two(30 * MIB, 11 * MIB), Change(3, 20 * MIB, 2, 0)]
    assert not goes_through(changes, 49 * MIB)
    assert goes_through(changes, 50 * MIB)


def test_a_convolution_does_without_what_it_would_borrow() -> None:
    """30 MiB of weights, and 100 that a kernel borrows while others, which borrow nothing, would do."""
    weights, borrowed, back = (
        Change(1, 30 * MIB, 0, 0),
        Change(2, 100 * MIB, 1, 0, is_workspace=True),
        Change(2, None, 1, 0),
    )
    assert not goes_through([weights, borrowed, back], 129 * MIB)
    assert goes_through([weights, borrowed._replace(is_spared=True), back], 30 * MIB)


def test_only_convolutions_have_other_kernels() -> None:
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Flatten(2), nn.Linear(36, 4))
    profile = archprof.profile(net, (8, 3, 8, 8), train=True)
    lent = [one for one in list_changes(profile, choose_workspaces(None), 1) if one.is_workspace and one.nbytes]
    assert [one.is_spared for one in lent] == [one.nbytes != CUBLAS_BYTES for one in lent]
    assert {True, False} == {one.is_spared for one in lent}


def test_what_a_run_needs_lies_between_what_is_live_and_what_is_reserved() -> None:
    found = archprof.predict_memory("resnet18", batch=64, train=True, optimizer="sgd").prediction
    room = found.needed_bytes.value - LAZY_CONTEXT_BYTES
    assert found.live_peak_bytes.value <= room < found.reserved_peak_bytes.value
    assert found.needed_bytes.low < found.needed_bytes.value < (found.needed_bytes.high or 0)


class Still(nn.Module):
    """Holds 4,004,000 bytes of weights and allocates nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.held = nn.Linear(1000, 1000)

    def forward(self, *given: torch.Tensor) -> torch.Tensor | None:
        return given[0] if given else None


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("inputs", "given"), [((), 0), ((torch.zeros(2, 12),), 96)])
def test_a_step_that_allocates_nothing_holds_what_is_there(
    inputs: tuple[torch.Tensor, ...], given: int, train: bool
) -> None:
    """The inputs of one step and not of all: in whole blocks of 512 bytes."""
    found = archprof.predict_memory(Still(), inputs, train=train).prediction
    blocks = 4_000_256 + 4_096 + (512 if given else 0)
    assert (found.live_peak_bytes.value, found.allocated_peak_bytes.value) == (4_004_000 + given, blocks)
    assert found.peak.categories["weights"] == 4_004_000
    assert found.peak.categories.get("inputs", 0) == given


def test_weights_alone_take_memory(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"a.weight": torch.zeros(1000, 1000)}, tmp_path / "net.safetensors")
    found = archprof.predict_memory(str(tmp_path / "net.safetensors")).prediction
    assert (found.live_peak_bytes.value, found.live_peak_bytes.high) == (4_000_000, None)


@pytest.mark.parametrize("options", [{}, {"train": True}, {"train": True, "optimizer": "adam"}])
def test_a_lazy_layer_makes_its_weights_once(options: dict[str, bool | str]) -> None:
    lazy, plain = (
        archprof.predict_memory(nn.Sequential(nn.ReLU(), layer), (8, 1024), **options).prediction
        for layer in (nn.LazyLinear(1024), nn.Linear(1024, 1024))
    )
    assert lazy.live_peak_bytes == plain.live_peak_bytes
    assert 0 <= lazy.allocated_peak_bytes.value - plain.allocated_peak_bytes.value <= 4 * 512  # tensors of no element
