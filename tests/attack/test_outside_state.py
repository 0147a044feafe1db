"""What a model keeps where no copy of it reaches is afterwards as it was, or its owner is told."""

from __future__ import annotations

import collections
import functools
import io
import random
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import archprof
from archprof.errors import ArchprofError

X = torch.randn(2, 4)
COUNTS: dict[str, Any] = {"passes": 0, "seen": []}
CACHE: dict[int, torch.Tensor] = {}
TOTAL, ARRAY, NORM = torch.zeros(3), np.zeros(2), nn.BatchNorm1d(4)
DICE, NUMPY_DICE, OLD_DICE = random.Random(5), np.random.default_rng(5), np.random.RandomState(5)
TORCH_DICE = torch.Generator().manual_seed(5)
PASSES = 0


class Tally:
    def __init__(self) -> None:
        self.count, self.names = 0, ["a"]


TALLY = Tally()


@functools.lru_cache
def make_table(size: int) -> torch.Tensor:
    return torch.arange(size)


def count_up() -> None:
    COUNTS["passes"] += 1
    COUNTS["seen"].append(1)


class Base(nn.Module):
    shared: ClassVar[list[int]] = [0]

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(4, 4)
        self.local, self.stream, self.bytes = threading.local(), io.BytesIO(b"ab"), bytearray(2)
        self.local.count, self.local.seen, self.view = 0, [], memoryview(self.bytes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.c(x)
        self.work(x)
        return y

    def work(self, x: torch.Tensor) -> None:
        raise NotImplementedError


class Helps(Base):
    def work(self, x: torch.Tensor) -> None:
        count_up()


class CountsItself(Base):
    def work(self, x: torch.Tensor) -> None:
        global PASSES
        PASSES += 1
        type(self).shared = [*self.shared, 1]
        CountsItself.new = 1
        TALLY.count += 1
        TALLY.names.append("b")


class Caches(Base):
    def work(self, x: torch.Tensor) -> None:
        CACHE.setdefault(4, torch.arange(4))
        make_table(4)
        self.remember(1)

    @functools.lru_cache  # noqa: B019  # as people write it
    def remember(self, number: int) -> torch.Tensor:
        return self.c.weight.sum() * number


class Throws(Base):
    def work(self, x: torch.Tensor) -> None:
        DICE.random(), NUMPY_DICE.random(), OLD_DICE.rand(), torch.rand(1, generator=TORCH_DICE)
        random.random(), np.random.rand(), torch.rand(1)


class WritesGlobals(Base):
    def work(self, x: torch.Tensor) -> None:
        with torch.no_grad():
            TOTAL.add_(1)
        ARRAY[0] += 1
        NORM(x.new_zeros(2, 4))


class HoldsStreams(Base):
    def work(self, x: torch.Tensor) -> None:
        self.local.count += 1
        self.local.seen.append(1)
        self.stream.write(b"xyz")
        self.view[0] = 7


def look(model: Base) -> Any:
    """All that these write to, by value."""
    return [
        repr((COUNTS, CACHE, TOTAL, ARRAY, vars(TALLY), PASSES, NORM.state_dict())), make_table.cache_info(),
        Caches.remember.cache_info(), Base.shared, CountsItself.shared, hasattr(CountsItself, "new"), DICE.getstate(),
        str(NUMPY_DICE.bit_generator.state), repr(OLD_DICE.get_state()), TORCH_DICE.get_state().tolist(),
        model.local.count, model.local.seen, model.stream.getvalue(), model.stream.tell(), bytes(model.bytes),
        random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist(),
    ]  # fmt: skip


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "forward": lambda model: archprof.profile(model, X),
    "train": lambda model: archprof.profile(model, X, train=True),
    "measure": lambda model: archprof.measure(model, X, seconds=0.05),
    "probe": lambda model: archprof.probe(model, data=[X], optimizer=None),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Helps, CountsItself, Caches, Throws, WritesGlobals, HoldsStreams])
def test_what_stands_outside_is_as_it_was(kind: type[Base], way: str) -> None:
    model = kind()
    before = look(model)
    WAYS[way](model)
    assert look(model) == before


def test_a_cache_has_no_tensor_without_values_afterwards() -> None:
    """What the model itself made before is still there, and what it makes next has values."""
    make_table(3)
    archprof.profile(Caches(), X)
    assert make_table.cache_info().currsize == 1
    assert make_table(4).tolist() == CACHE.setdefault(4, torch.arange(4)).tolist() == [0, 1, 2, 3]
    make_table.cache_clear()
    CACHE.clear()


def make_closed_over(hold: Any, use: Callable[[Any], Any]) -> nn.Module:
    class Closes(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            use(hold)
            return super().forward(x)

    return Closes(4, 4)


HELD: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "a list": (lambda: [1], lambda held: held.append(2)),
    "a list in a dict": (lambda: {"a": [1]}, lambda held: held["a"].append(2)),
    "a set": (lambda: {1}, lambda held: held.add(2)),
    "a counter": (collections.Counter, lambda held: held.update("ab")),
    "a queue of two ends": (lambda: collections.deque([1], 2), lambda held: held.extend((2, 3))),
    "a default": (lambda: collections.defaultdict(list), lambda held: held["a"]),
    "bytes": (lambda: bytearray(2), lambda held: held.__setitem__(0, 1)),
    "an array": (lambda: np.zeros(2), lambda held: held.__setitem__(0, 1)),
    "a tensor": (lambda: torch.zeros(2), lambda held: held.data.add_(1)),
    "a norm": (lambda: nn.BatchNorm1d(4), lambda held: held(torch.randn(2, 4))),
}


@pytest.mark.parametrize("kind", HELD)
def test_what_a_method_closes_over_is_as_it_was(kind: str) -> None:
    make, use = HELD[kind]
    held = make()
    before = repr(held.state_dict() if isinstance(held, nn.Module) else held)
    model = make_closed_over(held, use)
    for train in (False, True):
        archprof.profile(model, X, train=train)
    assert repr(held.state_dict() if isinstance(held, nn.Module) else held) == before


def test_a_name_of_an_outer_function_is_as_it_was() -> None:
    count = 0

    class Counts(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            return super().forward(x)

    archprof.profile(Counts(4, 4), X)
    assert count == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_put_back_after_an_error(error: type[BaseException]) -> None:
    class Raises(Helps):
        def work(self, x: torch.Tensor) -> None:
            super().work(x)
            raise error

    model = Raises()
    before = look(model)
    with pytest.raises((ArchprofError, KeyboardInterrupt)):
        archprof.profile(model, X)
    assert look(model) == before


def test_a_generator_that_went_on_is_told() -> None:
    class Draws(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * next(self.numbers)

    model = Draws(4, 4)
    model.numbers = (number for number in range(9))
    with pytest.raises(ArchprofError, match="The forward went on with numbers, which cannot be set back"):
        archprof.profile(model, X)


@pytest.mark.parametrize("way", ["measure", "probe"])
def test_the_tensors_that_were_given_are_as_they_were(way: str) -> None:
    class Writes(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.data.mul_(2)
            return super().forward(x)

    before = X.clone()
    WAYS[way](Writes(4, 4))
    assert torch.equal(X, before)


BARE, GROWN = torch.ones(4, 4, requires_grad=True), torch.ones(4, 4, requires_grad=True)
GROWN.grad = torch.full((4, 4), 2.0)


class ReadsLeaves(nn.Linear):
    """The backward gives them gradients, as it does what a forward trains by itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x @ BARE @ GROWN)


class TrainsWithin(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            (x @ BARE @ GROWN).sum().backward()
        return super().forward(x)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [ReadsLeaves, TrainsWithin])
def test_gradients_of_leaves_outside_are_as_they_were(kind: type[nn.Linear], way: str) -> None:
    model, kept = kind(4, 4), GROWN.grad
    WAYS[way](model)
    assert (BARE.grad, GROWN.grad is kept, GROWN.grad.tolist()) == (None, True, [[2.0] * 4] * 4)
    assert all(parameter.grad is None for parameter in model.parameters())
