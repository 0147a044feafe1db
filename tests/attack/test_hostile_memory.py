"""Real tensors that the machine has no room for: refused before they are made, with what they need and what is free."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import archprof
from archprof.errors import ArchprofError
from archprof.torchside import free_memory

MIB = 2**20


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> int:
    """As if 100 MiB were free, of which nine tenths may be taken."""
    monkeypatch.setattr(free_memory, "read_free_bytes", lambda: 100 * MIB)
    return 100 * MIB


class Chooses(nn.Module):
    """Needs values, so that it is traced on real tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1024, 1024)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x)
        return x[x.sum(1) > 0]


def test_a_pass_that_needs_values_is_refused_where_there_is_no_room(free: int) -> None:
    """By hand: weights are 4 MiB + 4 KiB, the input and what comes out 4 KiB a sample each, their sums 4 bytes."""
    assert archprof.profile(Chooses(), "1024", batch=1024).ran.device == "cpu"
    with pytest.raises(ArchprofError, match=r"needs 100.06 MiB of memory or more; 100.00 MiB are free"):
        archprof.profile(Chooses(), "1024", batch=12 * 1024)
    assert archprof.profile(nn.Linear(1024, 1024), "1024", batch=12 * 1024).ran.device == "meta"


def test_weights_that_need_values_are_refused_where_there_is_no_room(free: int) -> None:
    """By hand: 1025 * 100,000 * 4 bytes are 391.0 MiB, beside 4 MiB + 4 KiB of the smaller layer."""

    class Large(Chooses):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Linear(1024, 100_000, device="meta")

    with pytest.raises(ArchprofError, match=r"needs 395.02 MiB of memory or more; 100.00 MiB are free"):
        archprof.profile(Large(), "1024")


def test_many_inputs_with_values_are_refused_where_there_is_no_room(free: int) -> None:
    """Whole numbers of a million elements have values, in 8 MiB each."""

    class Many(nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            return given[0] + given[-1]

    words = "int64[1048576]<9"
    assert archprof.profile(Many(), [words] * 11, batch=1)
    with pytest.raises(ArchprofError, match=r"goes into the model needs 96.00 MiB of memory or more; 100.00 MiB are"):
        archprof.profile(Many(), [words] * 12, batch=1)


def test_a_batch_to_be_probed_is_refused_where_there_is_no_room(free: int) -> None:
    with pytest.raises(ArchprofError, match=r"needs .* of memory or more; 100.00 MiB are free"):
        archprof.probe("vgg16", data="random", batch=1)


BATCH = [(torch.zeros(4, 2048), torch.zeros(4, dtype=torch.int64))]


def make_large() -> nn.Module:
    """20 MiB of weights, and 20 MiB of gradients after a step."""
    return nn.Sequential(nn.Linear(2048, 2560, bias=False))


def test_the_state_of_an_optimizer_needs_room(free: int, tmp_path: Path) -> None:
    """By hand: SGD has none; Adam has two moments of 20 MiB each, and makes as much again while it works."""
    assert archprof.train(make_large(), tmp_path / "sgd", data=BATCH, epochs=1, optimizer="sgd(lr=0.1)")
    assert archprof.probe(make_large(), data=BATCH).probe.gradients
    with pytest.raises(ArchprofError, match=r"needs 1\d\d\.\d\d MiB of memory or more; 100.00 MiB are free"):
        archprof.train(make_large(), tmp_path / "adam", data=BATCH, epochs=1, optimizer="adam")
    with pytest.raises(ArchprofError, match=r"needs 1\d\d\.\d\d MiB of memory or more; 100.00 MiB are free"):
        archprof.probe(make_large(), data=BATCH, optimizer="adam")


def test_nets_side_by_side_need_room_together(free: int, tmp_path: Path) -> None:
    """By hand: 20 MiB of weights, gradients and momentum each; of the first, 40 MiB will be there beside the second."""
    momentum = "sgd(lr=0.1, momentum=0.9)"
    assert archprof.train(make_large(), tmp_path / "one", data=BATCH, epochs=1, optimizer=momentum)
    with pytest.raises(ArchprofError, match=r"beside the nets before it needs 10\d\.\d\d MiB"):
        archprof.train([make_large(), make_large()], tmp_path / "two", data=BATCH, epochs=1, optimizer=momentum)
