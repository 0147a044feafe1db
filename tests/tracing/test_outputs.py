"""Forwards that give objects. Counts by hand: a layer 4 -> 4 over 3 rows, and backwards for its weight alone."""

from __future__ import annotations

import itertools
from collections import UserDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from tracing.odd import LINE, ROWS, Runs, line

import archprof

Pair = namedtuple("Pair", "first second")


@dataclass
class Answer:
    value: torch.Tensor


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value


class Nested:
    def __init__(self, value: torch.Tensor) -> None:
        self.parts = [SimpleNamespace(value=value), self]


class WithModel:
    """Knows the module, too, whose parameters are no outputs."""

    def __init__(self, model: nn.Module, value: torch.Tensor) -> None:
        self.model, self.value = model, value


def later(value: torch.Tensor) -> Any:
    return lambda: value


OUTPUTS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "a tensor": lambda self, y: y,
    "a distribution": lambda self, y: torch.distributions.Normal(y, 1.0),
    "logits": lambda self, y: torch.distributions.Categorical(logits=y),
    "a mixture": lambda self, y: torch.distributions.Independent(torch.distributions.Normal(y, y.exp()), 1),
    "a dataclass": lambda self, y: Answer(y),
    "a named tuple": lambda self, y: Pair(y, None),
    "slots": lambda self, y: Slotted(y),
    "a deque": lambda self, y: deque([y]),
    "a UserDict": lambda self, y: UserDict(y=y),
    "an object in objects": lambda self, y: Nested(y),
    "an object in a list": lambda self, y: [Slotted(y)],
    "an object that knows the model": WithModel,
    "a function": lambda self, y: later(y),
    "a loss that is a method": lambda self, y: SimpleNamespace(loss=later(y), value=y),
    "a packed sequence": lambda self, y: nn.utils.rnn.pack_sequence([y]),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_tensors_of_an_object_are_found(name: str) -> None:
    model = Runs(lambda self, x: OUTPUTS[name](self, self.layer(x)), layer=line())
    profile = archprof.profile(model, ROWS, train=True)
    profile.check()
    totals = profile.totals
    assert (totals.macs, totals.backward_macs, totals.complete) == (LINE, LINE, True)


GENERATORS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "a generator": lambda self, x: (self.layer(x) for _ in range(2)),
    "a map": lambda self, x: map(self.layer, [x, x]),
    "generators in a dict": lambda self, x: {"a": (self.layer(x) for _ in range(1)), "b": map(self.layer, [x])},
    "a generator of generators": lambda self, x: ((self.layer(x) for _ in range(1)) for _ in range(2)),
    "a zip": lambda self, x: zip(map(self.layer, [x]), map(self.layer, [x]), strict=True),
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_is_run_to_its_end(name: str, train: bool) -> None:
    profile = archprof.profile(Runs(GENERATORS[name], layer=line()), ROWS, train=train)
    profile.check()
    assert profile.totals.macs == 2 * LINE
    assert profile.totals.backward_macs == (2 * LINE if train else None)


class Opaque:
    """Keeps nothing that can be found: the tensors are elsewhere."""


ELSEWHERE: list[torch.Tensor] = []


def test_an_object_that_hides_its_tensors_is_not_taken_for_none() -> None:
    def run(self: Any, x: torch.Tensor) -> Any:
        ELSEWHERE[:] = [self.layer(x)]
        return Opaque()

    profile = archprof.profile(Runs(run, layer=line()), ROWS, train=True)
    ELSEWHERE.clear()
    profile.check()
    assert profile.totals.macs == LINE
    assert not profile.totals.complete
    assert any("the backward pass is not known" in note for note in profile.notes)


@pytest.mark.parametrize("output", [None, 1.5, "words", (), {}])
def test_plain_outputs_have_no_backward_pass(output: Any) -> None:
    profile = archprof.profile(Runs(lambda self, x: (self.layer(x), output)[1], layer=line()), ROWS, train=True)
    assert (profile.totals.backward_macs, profile.totals.complete) == (0, True)
    assert any("no backward pass" in note for note in profile.notes)


def test_a_frozen_model_hides_nothing() -> None:
    model = Runs(lambda self, x: Opaque(), layer=line()).requires_grad_(False)
    assert archprof.profile(model, ROWS, train=True).totals.complete


def test_the_search_comes_to_an_end() -> None:
    held = [Slotted(torch.zeros(1)) for _ in range(3)]
    endless = itertools.cycle(held)
    model = Runs(
        lambda self, x: SimpleNamespace(y=self.layer(x), more=endless, model=self, kind=type(self)), layer=line()
    )
    assert archprof.profile(model, ROWS, train=True).totals.backward_macs == LINE
