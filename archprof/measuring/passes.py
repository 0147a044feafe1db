"""The two samplers that every device has: a pass with marks, and a pass without."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from archprof.measuring.boundaries import (
    NO_OVERHEAD,
    Marking,
    MarkKind,
    MarkTrail,
    Overhead,
    sum_own_seconds,
)
from archprof.measuring.live_model import LiveModel
from archprof.measuring.protocols import WHOLE_ROW, Clock, RowKey

CHAIN_LENGTH = 200
"""Modules, and nodes, in the chain on which the cost of a mark is measured."""

CHAIN_REPEATS = 15
"""Passes over that chain; the fastest counts, since noise only adds."""


class WholeSampler:
    """The pass as a user runs it, without any marks."""

    name = "whole pass"

    def __init__(self, subject: LiveModel, clock: Clock) -> None:
        self.subject, self.clock = subject, clock

    def prepare(self) -> None:
        """Nothing is needed."""

    def sample(self) -> dict[RowKey, float]:
        start = self.clock.mark()
        self.subject.run_pass()
        end = self.clock.mark()
        self.clock.settle()
        return {WHOLE_ROW: self.clock.seconds(start, end)}


class MarkedSampler:
    """A pass with a mark at every border, whose cost is subtracted."""

    name = "pass with marks"

    def __init__(self, subject: LiveModel, rows: Marking, clock: Clock, overhead: Overhead = NO_OVERHEAD) -> None:
        self.subject, self.marking, self.clock, self.overhead = subject, rows, clock, overhead

    def prepare(self) -> None:
        """Nothing is needed."""

    def sample(self) -> dict[RowKey, float]:
        marks = self.marking.run_with_marks(self.subject, self.clock)
        self.clock.settle()
        return self.marking.charge_to_rows(sum_own_seconds(marks, self.clock, self.overhead))


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
