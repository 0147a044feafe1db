"""Moves to where a tensor is copy nothing. Oracle: what torch on the CPU gives back, the same object or a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from tracing.odd import LINE, ROWS, Runs, line
from tracing.real_memory import LiveBytes, collector_off

import archprof
from archprof.facts.liveness import compute_peak_bytes, sum_live_bytes

EXAMPLE, DOUBLE = torch.zeros(1), torch.zeros(1, dtype=torch.float64)

MOVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "to(word)": lambda x: x.to("cpu"),
    "to(device)": lambda x: x.to(torch.device("cpu")),
    "to(device of it)": lambda x: x.to(x.device),
    "to(device=)": lambda x: x.to(device="cpu"),
    "to(device, dtype)": lambda x: x.to("cpu", torch.float32),
    "to(device, dtype, non_blocking)": lambda x: x.to("cpu", torch.float32, True),
    "to(device, None)": lambda x: x.to("cpu", None),
    "to(device, non_blocking=)": lambda x: x.to("cpu", non_blocking=True),
    "to(dtype)": lambda x: x.to(torch.float32),
    "to(dtype=)": lambda x: x.to(dtype=torch.float32),
    "to(tensor)": lambda x: x.to(EXAMPLE),
    "to(tensor=)": lambda x: x.to(tensor=EXAMPLE),
    "cpu()": lambda x: x.cpu(),
    "cpu(memory_format=)": lambda x: x.cpu(memory_format=torch.preserve_format),
    "to(double)": lambda x: x.to(torch.float64),
    "to(device, double)": lambda x: x.to("cpu", torch.float64),
    "to(device=, dtype=)": lambda x: x.to(device="cpu", dtype=torch.float64),
    "to(tensor of doubles)": lambda x: x.to(DOUBLE),
    "to(device, copy=)": lambda x: x.to("cpu", copy=True),
    "to(device, dtype, False, True)": lambda x: x.to("cpu", torch.float32, False, True),
    "to(device, memory_format=)": lambda x: x.view(1, 3, 4, 1).to("cpu", memory_format=torch.channels_last)[0, ..., 0],
    "to(device).double()": lambda x: x.to("cpu").double(),
}


def copied_bytes(move: Callable[[torch.Tensor], torch.Tensor]) -> int:
    """Bytes of the new storage that a move makes on real tensors."""
    x = torch.zeros(3, 4)
    moved = move(x)
    return 0 if moved.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() else 12 * moved.itemsize


def activation_bytes(profile: archprof.Profile) -> int:
    return sum(storage.nbytes for storage in profile.storages if storage.role == "activation")


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", MOVES)
def test_a_move_copies_as_on_real_tensors(name: str, train: bool) -> None:
    move = MOVES[name]
    model = Runs(lambda self, x: move(self.layer(x)), layer=line())
    profile = archprof.profile(model, ROWS, train=train)
    profile.check()
    assert activation_bytes(profile) == 12 * 4 + copied_bytes(move)
    assert profile.totals.backward_macs == (LINE if train else None)
    assert (profile.ran.device, profile.notes) == ("meta", ())


class Same(nn.Module):
    """Asks whether a move gives back the same object."""

    def __init__(self, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.move, self.layer = move, line()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x)
        return self.layer(x) if self.move(x) is x else x


@pytest.mark.parametrize("name", MOVES)
def test_a_move_gives_the_same_object_back(name: str) -> None:
    x = torch.zeros(3, 4)
    same = MOVES[name](x) is x
    assert archprof.profile(Same(MOVES[name]), ROWS).totals.macs == LINE * (1 + same)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("move", [lambda x: x.cuda(), lambda x: x.cuda(0), lambda x: x.to("cuda:0"), lambda x: x.to(0)])
def test_a_device_that_is_not_here(move: Callable[[torch.Tensor], torch.Tensor], train: bool) -> None:
    for wants_values in (False, True):

        def run(self: Any, x: torch.Tensor, wants_values: bool = wants_values) -> torch.Tensor:
            x = self.second(move(self.first(move(x))))
            return x * x.sum().item() if wants_values else x

        profile = archprof.profile(Runs(run, first=line(), second=line()), ROWS, train=train)
        assert (profile.totals.macs, profile.totals.backward_macs) == (2 * LINE, 3 * LINE if train else None)


def test_modules_that_are_moved_in_forward() -> None:
    model = Runs(lambda self, x: self.layer.to(x.device).cpu()(x), layer=line())
    assert activation_bytes(archprof.profile(model, ROWS)) == 12 * 4


def test_what_the_forward_makes_is_moved_to_its_input() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(4, dtype=torch.float32)  # 16 bytes
        return x + places.to(x.device)  # 48 bytes

    assert activation_bytes(archprof.profile(Runs(run), ROWS)) == 16 + 48


def test_what_was_moved_can_be_written_to() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        room = torch.zeros(3, 4).to(x.device)
        room[:, :2] = self.layer(x)[:, :2]
        return room

    profile = archprof.profile(Runs(run, layer=line()), ROWS)
    assert (profile.totals.macs, profile.ran.device) == (LINE, "meta")


def offload(module: nn.Module) -> nn.Module:
    """As accelerate does: a forward that brings the weights, runs, and sends them and the output back."""
    forward = module.forward

    def moved(*args: torch.Tensor) -> torch.Tensor:
        for name, value in list(module._parameters.items()):
            if value is not None:
                module._parameters[name] = value.to("cpu")
        return forward(*(value.to("cpu", non_blocking=True) for value in args)).to("cpu")

    module.forward = moved  # type: ignore[method-assign]
    return module


def test_hooks_that_move_weights() -> None:
    model = nn.Sequential(offload(line()), offload(line()))
    real = model(torch.rand(3, 4))
    assert real.requires_grad
    totals = archprof.profile(model, ROWS, train=True).totals
    assert (totals.macs, totals.backward_macs) == (2 * LINE, 3 * LINE)


def test_embeddings_follow_their_ids() -> None:
    def run(self: Any, ids: torch.Tensor) -> torch.Tensor:
        return functional.embedding(ids.to(self.layer.weight.device), self.layer.weight)

    profile = archprof.profile(Runs(run, layer=line()), torch.zeros(3, dtype=torch.int64))
    assert activation_bytes(profile) == 12 * 4


def test_what_is_moved_from_values_is_the_same_tensor() -> None:
    """A table that is made, moved to the input's place, read there and dropped: live as long as on the CPU."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        table = (torch.arange(64, dtype=torch.float32) * 2).view(16, 4).to(x.device)
        x = self.layer(x) + table[:3]
        del table
        return x.exp() * 2

    model = Runs(run, layer=line())
    with collector_off():
        live = LiveBytes([ROWS, *model.parameters()])
        with live, torch.no_grad():
            model(ROWS)
    profile = archprof.profile(model, ROWS)
    assert not [storage for storage in profile.storages if storage.role == "constant"]
    assert compute_peak_bytes(profile) == max(nbytes for _, nbytes in live.seen)
    assert sum_live_bytes(profile.storages, len(profile.ops))[-1] == live.seen[-1][1]
