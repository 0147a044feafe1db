"""The user's model through what a twin cannot copy: it is not changed, or its owner is told."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.errors import ArchprofError

X = torch.randn(2, 4)


class Holds(nn.Module):
    """A layer and a norm, something made of them that lies beside them, and a forward that uses it."""

    def __init__(self, make: Callable[[Holds], Any], use: Callable[[Holds, torch.Tensor], Any]) -> None:
        super().__init__()
        self.c, self.norm, self.seen = nn.Linear(4, 4), nn.BatchNorm1d(4), []
        self.held, self.use = make(self), use

    def forward(self, x: torch.Tensor) -> Any:
        return self.c(x) + 0 * self.use(self, x)


class Locked:
    """What cannot be copied, for it holds a lock, and the model."""

    def __init__(self, model: nn.Module) -> None:
        self.lock, self.model = threading.Lock(), model

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("no copy")

    def __copy__(self) -> Any:
        raise TypeError("no copy")

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copy")

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.model.c.weight.mul_(2)
        return x

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.norm(x.detach())


def without_grad(call: Callable[[], Any]) -> Any:
    with torch.no_grad():
        return call()


COPIED = {
    "a method of a weight": Holds(lambda m: m.c.weight.data.mul_, lambda m, x: m.held(2).sum()),
    "a method of a parameter": Holds(lambda m: m.c.weight.mul_, lambda m, x: without_grad(lambda: m.held(2)).sum()),
    "a method of a buffer": Holds(lambda m: m.norm.running_mean.add_, lambda m, x: m.held(1).sum()),
    "a method of a list": Holds(lambda m: m.seen.append, lambda m, x: m.held(1) or 1),
    "a partial of a method": Holds(lambda m: functools.partial(m.c.bias.data.add_, 1), lambda m, x: m.held().sum()),
    "a cache around a method": Holds(
        lambda m: functools.lru_cache(lambda number: m.norm.train()(torch.ones(2, 4) * number).sum()),
        lambda m, x: m.held(3),
    ),
}


def all_of(model: Holds) -> Any:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return state, list(model.seen), [module.training for module in model.modules()]


def assert_same(before: Any, after: Any) -> None:
    assert before[1:] == after[1:]
    for name, tensor in before[0].items():
        assert torch.equal(tensor, after[0][name]), name


@pytest.mark.parametrize("kind", COPIED)
@pytest.mark.parametrize("train", [False, True])
def test_what_is_bound_to_the_model_is_bound_to_its_twin(kind: str, train: bool) -> None:
    model = COPIED[kind]
    before = all_of(model)
    assert archprof.profile(model, X, train=train).totals.params == 4 * 4 + 4 + 2 * 4
    assert_same(before, all_of(model))


@pytest.mark.parametrize("use", ["scale", "normalise"])
@pytest.mark.parametrize("train", [False, True])
def test_what_cannot_be_copied_is_stopped_before_it_changes_the_model(use: str, train: bool) -> None:
    model = Holds(Locked, lambda m, x: getattr(m.held, use)(x))
    before = all_of(model)
    with pytest.raises(ArchprofError, match=r"would change (c.weight|norm.num_batches_tracked) of the model itself"):
        archprof.profile(model, X, train=train)
    assert_same(before, all_of(model))


def test_a_change_that_no_mode_sees_is_told() -> None:
    """Written from another thread that the pass does not watch, say, or by code of C."""

    def use(model: Holds, x: torch.Tensor) -> torch.Tensor:
        from torch.utils._python_dispatch import _disable_current_modes

        with _disable_current_modes(), torch.no_grad():
            model.held.model.c.bias.add_(1)
        return x

    with pytest.raises(ArchprofError, match=r"changed c.bias of the model itself"):
        archprof.profile(Holds(Locked, use), X)


@pytest.mark.parametrize("way", [archprof.profile, archprof.measure, archprof.probe])
def test_running_statistics_that_a_fused_norm_changed_are_told(way: Any) -> None:
    """Unseen by the modes of a trace, and in passes of real tensors, which have none."""

    def use(model: Holds, x: torch.Tensor) -> torch.Tensor:
        from torch.utils._python_dispatch import _disable_current_modes

        norm = model.held.model.norm
        with _disable_current_modes(), torch.no_grad():
            torch.native_batch_norm(torch.randn(8, 4), None, None, norm.running_mean, norm.running_var, True, 0.5, 1e-5)
        return x

    extra = {archprof.profile: {}, archprof.measure: {"seconds": 0.1}, archprof.probe: {"data": [X]}}[way]
    with pytest.raises(ArchprofError, match=r"changed norm.running_mean, norm.running_var of the model itself"):
        way(Holds(Locked, use), X if way is not archprof.probe else None, **extra)


REAL_PASSES: dict[str, Callable[[nn.Module], Any]] = {
    "measure": lambda model: archprof.measure(model, X, seconds=0.1),
    "probe": lambda model: archprof.probe(model, data=[X]),
}


@pytest.mark.parametrize("way", REAL_PASSES)
def test_a_change_by_real_passes_alone_is_told(way: str) -> None:
    def use(model: Holds, x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta:
            model.held.scale(x)
        return x

    model = Holds(Locked, use)
    with pytest.raises(ArchprofError, match=r"changed c.weight of the model itself"):
        REAL_PASSES[way](model)


def test_a_cache_of_the_users_own_gets_nothing_of_the_pass() -> None:
    model = Holds(lambda m: functools.lru_cache(lambda number: torch.ones(number)), lambda m, x: m.held(4))
    archprof.profile(model, X)
    assert model.held.cache_info().currsize == 0
    assert not model(X).is_meta
