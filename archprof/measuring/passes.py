"""Passes with marks and without, and the two samplers of them that every device has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import nn

from archprof.facts.overlays import Outside
from archprof.measuring.boundaries import (
    NO_OVERHEAD,
    Mark,
    Marking,
    MarkKind,
    MarkTrail,
    Overhead,
    sum_own_seconds,
)
from archprof.measuring.live_model import LiveModel
from archprof.measuring.protocols import Clock, RowKey

CHAIN_LENGTH = 200
"""Modules, and nodes, in the chain on which the cost of a mark is measured."""

CHAIN_REPEATS = 15
"""Passes over that chain; the fastest counts, since noise only adds."""


class PassSource(Protocol):
    """A way to get passes run, with and without marks.

    Attributes:
        marking: where passes are marked; `None`: they cannot be.
    """

    marking: Marking | None

    @property
    def clock(self) -> Clock: ...

    def prepare(self) -> None:
        """Whatever passes need; called at least once before them."""

    def run_marked(self) -> Sequence[Mark]:
        """One pass with marks; it is over, and they can be read."""

    def run_bare(self) -> float:
        """Seconds of one pass without marks."""


class EagerSource:
    """Passes as users run them: on a GPU, the gaps in which it waits for the host are part of the time."""

    def __init__(self, subject: LiveModel, rows: Marking | None, clock: Clock) -> None:
        self.subject, self.marking, self.clock = subject, rows, clock

    def prepare(self) -> None:
        """Nothing is needed."""

    def run_marked(self) -> Sequence[Mark]:
        assert self.marking is not None
        marks = self.marking.run_with_marks(self.subject, self.clock)
        self.clock.settle()
        return marks

    def run_bare(self) -> float:
        start = self.clock.mark()
        self.subject.run_pass()
        end = self.clock.mark()
        self.clock.settle()
        return self.clock.seconds(start, end)


class RowSampler:
    """Samples the rows of a source: a mark stands at every border, whose cost is subtracted."""

    def __init__(self, source: PassSource, overhead: Overhead = NO_OVERHEAD) -> None:
        self.source, self.overhead = source, overhead

    def prepare(self) -> None:
        self.source.prepare()

    def sample(self) -> dict[RowKey, float]:
        assert self.source.marking is not None
        own = sum_own_seconds(self.source.run_marked(), self.source.clock, self.overhead)
        return self.source.marking.charge_to_rows(own)


class WholeSampler:
    """Samples the whole of a source, without any marks inside."""

    def __init__(self, source: PassSource) -> None:
        self.source = source

    def prepare(self) -> None:
        self.source.prepare()

    def sample(self) -> dict[RowKey, float]:
        return {Outside.WHOLE: self.source.run_bare()}


def measure_mark_cost(clock: Clock, *, train: bool) -> dict[MarkKind, float]:
    """Seconds that one mark adds to a pass: a chain of nothing with marks, less the same chain without."""
    with torch.enable_grad():
        return {
            "call": _measure_chain_cost(clock, _time_calls),
            "node": _measure_chain_cost(clock, _time_nodes) if train else 0.0,
            "stage": 0.0,
        }


def _measure_chain_cost(clock: Clock, chain: Callable[[Clock, bool], float]) -> float:
    marked, plain = (min(chain(clock, marks) for _ in range(CHAIN_REPEATS)) for marks in (True, False))
    return max(0.0, (marked - plain) / (2 * CHAIN_LENGTH))


def _time_calls(clock: Clock, marks: bool) -> float:
    """Seconds for a chain of modules that do nothing."""
    model, tensor = nn.Sequential(*(nn.Identity() for _ in range(CHAIN_LENGTH))), torch.empty(0)
    trail = MarkTrail(model if marks else nn.Identity(), (), clock)
    trail.begin_stage("forward", None)
    model(tensor)
    trail.begin_stage("end", None)
    return _read_stage_seconds(trail, clock)


def _time_nodes(clock: Clock, marks: bool) -> float:
    """Seconds for the backward pass of a chain of the smallest ops."""
    loss = torch.ones((), requires_grad=True)
    for _ in range(CHAIN_LENGTH - 1):  # the last node keeps the gradient
        loss = loss.neg()
    trail = MarkTrail(nn.Identity(), (), clock)
    trail.begin_stage("backward", loss if marks else None)
    loss.backward()  # type: ignore[no-untyped-call]
    trail.begin_stage("end", None)
    return _read_stage_seconds(trail, clock)


def _read_stage_seconds(trail: MarkTrail, clock: Clock) -> float:
    """From the mark of the last stage before the end to the end."""
    trail.remove_hooks()
    clock.settle()
    start, end = [mark.handle for mark in trail.marks if mark.kind == "stage"][-2:]
    return clock.seconds(start, end)
