"""Which row is charged for which second, on live models whose layers take exactly the time they are told to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_time import Residual, Spend, Time, Work
from torch import nn
from torch.utils.checkpoint import checkpoint

from archprof.facts.overlays import Outside
from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.measuring.boundaries import (
    NO_OVERHEAD,
    ROOT_ROW,
    MarkTrail,
    ModuleMarking,
    Overhead,
    sum_own_seconds,
)
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource, RowSampler, WholeSampler, measure_mark_cost
from archprof.measuring.protocols import RowKey
from archprof.sources.resolve import resolve
from archprof.tracing.trace import trace

SHAPE = (2, 3)


def measured(
    model: nn.Module, time: Time, *, train: bool = False, overhead: Overhead = NO_OVERHEAD
) -> dict[RowKey, float]:
    """The seconds of one marked pass, and that a pass without marks takes as long as all of them together."""
    profile, subject = both(model, train=train)
    sample = RowSampler(EagerSource(subject, ModuleMarking(profile), time), overhead).sample()
    assert WholeSampler(EagerSource(subject, None, time)).sample() == {
        Outside.WHOLE: pytest.approx(sum(sample.values()))
    }
    return {row: seconds for row, seconds in sample.items() if seconds}


def both(model: nn.Module, *, train: bool = False) -> tuple[Profile, LiveModel]:
    target = resolve(model, SHAPE)
    request = PassRequest(dtype="float32", train=train)
    return trace(target, request), LiveModel(target, request)


def test_each_call_has_its_own_work_and_a_container_what_it_adds() -> None:
    time = Time()
    model = nn.Sequential(Work(time, 3.0), Residual(time, Work(time, 5.0), nn.ReLU(inplace=True), Work(time, 7.0)))
    assert measured(model, time) == {("0", 0): 3, ("1", 0): 1, ("1.inner.0", 0): 5, ("1.inner.2", 0): 7}


def test_a_module_called_twice_has_two_rows() -> None:
    time = Time()
    again = Work(time, 3.0)
    assert measured(nn.Sequential(again, nn.Tanh(), again), time) == {("0", 0): 3, ("0", 1): 3}


class Glue(nn.Module):
    """A container without an op whose own code takes two seconds."""

    def __init__(self, time: Time, inner: nn.Module) -> None:
        super().__init__()
        self.time, self.inner = time, inner

    def forward(self, tensor: torch.Tensor) -> Any:
        self.time.spend(2.0)
        return self.inner(tensor)


def test_time_in_a_container_without_an_op_is_between_layers() -> None:
    time = Time()
    model = nn.Sequential(Glue(time, Work(time, 3.0)), Glue(time, Work(time, 4.0)))
    assert measured(model, time) == {("0.inner", 0): 3, ("1.inner", 0): 4, Outside.BETWEEN_LAYERS: 4}
    assert measured(nn.Sequential(Residual(time, Glue(time, nn.ReLU()))), time) == {
        ("0", 0): 1,
        Outside.BETWEEN_LAYERS: 2,
    }


class Direct(nn.Module):
    """Calls the forward of its inner layer and not the layer: nobody sees that call."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tensor: torch.Tensor) -> Any:
        return self.inner.forward(tensor)


def test_work_that_no_call_shows_is_its_callers() -> None:
    time = Time()
    assert measured(nn.Sequential(Direct(Work(time, 3.0))), time) == {("0", 0): 3}
    assert measured(Work(time, 3.0), time) == {ROOT_ROW: 3}


def test_a_row_that_the_profile_does_not_know_is_charged_to_its_caller() -> None:
    time = Time()
    model = nn.Sequential(Work(time, 3.0), Work(time, 4.0))
    trail = MarkTrail(model, [ROOT_ROW, ("1", 0)], time)
    trail.begin_stage("forward", None)
    model(torch.ones(SHAPE))
    trail.begin_stage("end", None)
    trail.remove_hooks()
    assert sum_own_seconds(trail.marks, time) == {ROOT_ROW: 3, ("1", 0): 4}


class Stumbles(nn.Module):
    def __init__(self, time: Time) -> None:
        super().__init__()
        self.time = time
        self.first, self.second = Glue(time, Fails(time)), Work(time, 4.0)

    def forward(self, tensor: torch.Tensor) -> Any:
        try:
            self.first(tensor)
        except ArithmeticError:
            self.time.spend(8.0)
        return self.second(tensor) + 1


class Fails(nn.Module):
    def __init__(self, time: Time) -> None:
        super().__init__()
        self.time = time

    def forward(self, tensor: torch.Tensor) -> Any:
        self.time.spend(3.0)
        raise ArithmeticError


def test_a_call_that_raises_and_is_caught_leaves_the_others_right() -> None:
    time = Time()
    model = Stumbles(time)
    trail = MarkTrail(model, [ROOT_ROW, ("first", 0), ("first.inner", 0), ("second", 0)], time)
    trail.begin_stage("forward", None)
    model(torch.ones(SHAPE))
    trail.begin_stage("end", None)
    trail.remove_hooks()
    # Nobody sees where the call that raised ended: what its caller does next is still charged to it.
    assert sum_own_seconds(trail.marks, time) == {
        ROOT_ROW: 0,
        ("first", 0): 2,
        ("first.inner", 0): 11,
        ("second", 0): 4,
    }


def test_a_training_step_books_the_way_back_with_the_layer() -> None:
    time = Time()
    model = nn.Sequential(Work(time, 3.0, 6.0), Residual(time, Work(time, 5.0, 10.0), nn.ReLU(inplace=True)))
    assert measured(model, time, train=True) == {("0", 0): 9, ("1", 0): 3, ("1.inner.0", 0): 15}


class Repeated(nn.Module):
    """Its inner layers under a checkpoint, which runs them again on the way back, as far as it needs them."""

    def __init__(self, time: Time, reentrant: bool) -> None:
        super().__init__()
        self.before, self.reentrant = Work(time, 1.0, 2.0), reentrant
        self.inner = nn.Sequential(Work(time, 3.0, 6.0), nn.Tanh())

    def forward(self, tensor: torch.Tensor) -> Any:
        return checkpoint(self.inner, self.before(tensor), use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_charged_to_the_layer_it_repeats(reentrant: bool) -> None:
    time = Time()
    took = measured(Repeated(time, reentrant), time, train=True)
    if reentrant:  # its graph is hidden inside one node of the caller's
        assert took == {ROOT_ROW: 6, ("before", 0): 3, ("inner.0", 0): 6}
    else:
        assert took == {("before", 0): 3, ("inner.0", 0): 12}


def test_what_lies_outside_the_modules_has_rows_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    profile, subject = both(nn.Sequential(Work(time, 3.0, 6.0), Work(time, 1.0, 2.0)), train=True)
    assert subject.optimizer is not None
    monkeypatch.setattr(subject.optimizer, "step", lambda: time.spend(11.0))
    monkeypatch.setattr(subject.optimizer, "zero_grad", lambda set_to_none: time.spend(13.0))
    monkeypatch.setattr(subject, "_find_loss", lambda output: Spend.apply(output.sum(), time, 17.0, 19.0))
    next(subject.model.parameters()).register_hook(lambda gradient: time.spend(23.0))
    sample = RowSampler(EagerSource(subject, ModuleMarking(profile), time)).sample()
    assert {row: seconds for row, seconds in sample.items() if isinstance(row, Outside)} == {
        Outside.OUTSIDE_MODULES: 13 + 17 + 19,
        Outside.OPTIMIZER_STEP: 11,
        Outside.GRADIENT_ACCUMULATION: 23,
        Outside.BETWEEN_LAYERS: 0,
    }
    assert (sample[("0", 0)], sample[("1", 0)]) == (9, 3)


@pytest.mark.parametrize("train", [False, True])
def test_what_marks_cost_is_found_and_subtracted(train: bool) -> None:
    time = Time(cost=0.25)
    overhead = measure_mark_cost(time, train=train)
    assert overhead == {"call": 0.25, "node": 0.25 if train else 0.0, "stage": 0.0}
    model = nn.Sequential(Work(time, 3.0, 6.0), Work(time, 5.0, 10.0))
    profile, subject = both(model, train=train)
    sample = RowSampler(EagerSource(subject, ModuleMarking(profile), time), overhead).sample()
    assert (sample[("0", 0)], sample[("1", 0)]) == ((9, 15) if train else (3, 5))


def test_a_row_never_takes_less_than_nothing() -> None:
    time = Time()
    profile, subject = both(nn.Sequential(nn.ReLU(), nn.ReLU()))
    overhead: Overhead = {"call": 1.0, "node": 1.0, "stage": 0.0}
    assert set(RowSampler(EagerSource(subject, ModuleMarking(profile), time), overhead).sample().values()) == {0.0}


@pytest.mark.parametrize("train", [False, True])
def test_marks_leave_nothing_behind_and_change_no_gradient(train: bool) -> None:
    time = Time()
    model = nn.Sequential(Work(time, 1.0), nn.ReLU(inplace=True), Residual(time, nn.Linear(3, 3)))
    profile, subject = both(model, train=train)
    subject.run_pass()
    plain = [parameter.grad for parameter in subject.model.parameters()]
    RowSampler(EagerSource(subject, ModuleMarking(profile), time)).sample()
    for before, parameter in zip(plain, subject.model.parameters(), strict=True):
        assert (before is None) == (parameter.grad is None)
        assert before is None or torch.equal(before, parameter.grad)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


def test_a_pass_that_fails_leaves_no_hooks() -> None:
    time = Time()
    profile, subject = both(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    subject.args = (torch.ones(2, 7),)
    with pytest.raises(RuntimeError):
        RowSampler(EagerSource(subject, ModuleMarking(profile), time)).sample()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


def test_every_called_row_of_a_real_model_is_in_the_sample() -> None:
    target = resolve("resnet18", "3x32x32")
    request = PassRequest(batch=2, dtype="float32", train=True)
    profile, subject = trace(target, request), LiveModel(target, request)
    sample = RowSampler(EagerSource(subject, ModuleMarking(profile), Time())).sample()
    assert [row for row in sample if isinstance(row, tuple)] == list(ModuleMarking(profile).called_rows)
