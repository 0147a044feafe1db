"""Random numbers that decide what runs. Oracle: the work of all layers, by hand; what is kept when none is dropped."""

from __future__ import annotations

import random
from collections.abc import Callable
from random import random as draw_number
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from tracing.odd import LINE, ROWS, Runs, line

import archprof

pytestmark = pytest.mark.filterwarnings("ignore")

COUNT = 12
RATE = 0.5

Model = Callable[[Any, torch.Tensor], Any]


def drop_by(drops: Callable[[], Any]) -> Model:
    """Each layer is left out where `drops` says so."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            if not (self.training and drops()):
                x = layer(x)
        return x

    return run


def by_vector(self: Any, x: torch.Tensor) -> torch.Tensor:
    keep = torch.rand(len(self.layers), device=x.device) > RATE
    for layer, kept in zip(self.layers, keep.tolist(), strict=True):
        if kept or not self.training:
            x = layer(x)
    return x


def by_generator(self: Any, x: torch.Tensor) -> torch.Tensor:
    return drop_by(lambda: torch.rand((), generator=torch.Generator().manual_seed(3)) < RATE)(self, x)


KEPT: dict[str, Model] = {
    "torch": drop_by(lambda: torch.rand(()) < RATE),
    "torch, uniform_": drop_by(lambda: torch.empty(1).uniform_(0, 1) < RATE),
    "torch, bernoulli": drop_by(lambda: bool(torch.bernoulli(torch.tensor(RATE)))),
    "torch, those that stay": drop_by(lambda: not torch.rand(()) < 1 - RATE),
    "torch, a vector": by_vector,
    "torch, a generator": by_generator,
    "python": drop_by(lambda: random.random() < RATE),
    "python, by its own name": drop_by(lambda: draw_number() < RATE),
    "python, uniform": drop_by(lambda: random.uniform(0, 1) < RATE),
    "python, those that stay": drop_by(lambda: random.random() > 1 - RATE),
    "numpy": drop_by(lambda: np.random.rand() < RATE),
    "numpy, uniform": drop_by(lambda: np.random.uniform(0, 1) < RATE),
}


def make(run: Model) -> nn.Module:
    return Runs(run, layers=nn.ModuleList(line() for _ in range(COUNT)))


def says_chance(profile: archprof.Profile) -> list[str]:
    return [note for note in profile.notes if "random number decides" in note]


@pytest.mark.parametrize("name", KEPT)
def test_everything_is_kept(name: str) -> None:
    model = make(KEPT[name])
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()
    found = [archprof.profile(model, ROWS, train=True) for _ in range(3)]
    assert (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()) == before
    for profile in found:
        profile.check()
        assert (profile.totals.macs, profile.totals.complete) == (COUNT * LINE, True)
        assert profile.totals.backward_macs == (2 * COUNT - 1) * LINE
        assert ["everything kept" in note for note in says_chance(profile)] == [True]
        random.random(), np.random.rand(), torch.rand(3)
    assert found[0].ops == found[1].ops == found[2].ops


@pytest.mark.parametrize("name", KEPT)
def test_nothing_is_dropped_in_evaluation(name: str) -> None:
    profile = archprof.profile(make(KEPT[name]), ROWS)
    assert (profile.totals.macs, says_chance(profile)) == (COUNT * LINE, [])


def test_numbers_drawn_on_the_models_own_device() -> None:
    """As transformers did it: on meta they have no values, and the pass stays there all the same."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return drop_by(lambda: torch.rand([], device=x.device) < RATE)(self, x)

    profile = archprof.profile(make(run), ROWS, train=True)
    assert (profile.totals.macs, profile.ran.device, len(says_chance(profile))) == (COUNT * LINE, "meta", 1)


def with_noise(self: Any, x: torch.Tensor) -> torch.Tensor:
    """Numbers that cannot be asked to come out high or low, beside those that drop layers."""
    order = np.random.permutation(9)
    return drop_by(lambda: torch.rand(()) < RATE)(self, x + torch.randn(4) * len(order))


def test_a_mask_beside_what_drops() -> None:
    """How many values it leaves is drawn, too, and drops nothing."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = drop_by(lambda: torch.rand(()) < 0.01)(self, x)
        return x[torch.randn(3) > 0].relu()

    profile = archprof.profile(make(run), ROWS, train=True)
    assert (profile.totals.macs, profile.ran.device) == (COUNT * LINE, "cpu")
    assert ["everything kept" in note for note in says_chance(profile)] == [True]


def test_functions_that_are_left_out() -> None:
    profile = archprof.profile(Runs(lambda self, x: x.relu() if random.random() > RATE else x), ROWS, train=True)
    assert (profile.totals.flops, len(says_chance(profile))) == (12, 1)


def test_noise_beside_what_drops() -> None:
    profile = archprof.profile(make(with_noise), ROWS, train=True)
    assert profile.totals.macs == COUNT * LINE
    assert ["everything kept" in note for note in says_chance(profile)] == [True]


ONE_DRAW: dict[str, Model] = {
    "a choice": lambda self, x: random.choice(list(self.layers))(x),
    "a number of steps": lambda self, x: nn.Sequential(*self.layers[: random.randint(1, COUNT)])(x),
    "steps by torch": lambda self, x: nn.Sequential(*self.layers[: int(torch.randint(1, COUNT, ()))])(x),
    "steps by numpy": lambda self, x: nn.Sequential(*self.layers[: np.random.randint(1, COUNT)])(x),
    "steps of all layers": lambda self, x: [nn.Sequential(*self.layers)(x) for _ in range(random.randint(1, COUNT))][
        -1
    ],
    "an order": lambda self, x: self.layers[torch.randperm(COUNT).tolist()[0]](x),
}


@pytest.mark.parametrize("name", ONE_DRAW)
def test_one_draw_is_said_to_be_one(name: str) -> None:
    """The same in each pass, wherever the generators are."""
    model, found = make(ONE_DRAW[name]), []
    for seed in range(4):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        profile = archprof.profile(model, ROWS, train=True)
        assert ["of one draw" in note for note in says_chance(profile)] == [True]
        found.append(profile.ops)
    assert all(ops == found[0] for ops in found)


HARMLESS: dict[str, Model] = {
    "noise": lambda self, x: self.layers[0](x) + torch.randn_like(x) * random.random(),
    "a mask": lambda self, x: self.layers[0](x * (torch.rand(x.shape[0], 1, device=x.device) > RATE)),
    "dropout": lambda self, x: nn.functional.dropout(self.layers[0](x), 0.1, self.training),
    "a number for the log": lambda self, x: self.layers[0](x) * float(torch.rand(())),
    "an order of equals": lambda self, x: self.layers[0](x[:, random.sample(range(4), 4)]),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_chance_that_decides_nothing(name: str) -> None:
    profile = archprof.profile(make(HARMLESS[name]), ROWS, train=True)
    assert (profile.totals.macs, profile.notes) == (LINE, ())
