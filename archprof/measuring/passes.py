"""The two samplers that every device has: a pass with marks, and a pass without."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from archprof.measuring.boundaries import FREE, Kind, Marking, Overhead, Trail, own_seconds
from archprof.measuring.live_model import Subject
from archprof.measuring.protocols import WHOLE, Clock, Row

CHAIN = 200
"""Modules, and nodes, in the chain on which the cost of a mark is measured."""

REPEATS = 15
"""Passes over that chain; the fastest counts, since noise only adds."""


class Whole:
    """The pass as a user runs it, without any marks."""

    name = "whole pass"

    def __init__(self, subject: Subject, clock: Clock) -> None:
        self.subject, self.clock = subject, clock

    def prepare(self) -> None:
        """Nothing is needed."""

    def sample(self) -> dict[Row, float]:
        start = self.clock.mark()
        self.subject.run()
        end = self.clock.mark()
        self.clock.settle()
        return {WHOLE: self.clock.seconds(start, end)}


class Marked:
    """A pass with a mark at every border, whose cost is subtracted."""

    name = "pass with marks"

    def __init__(self, subject: Subject, rows: Marking, clock: Clock, overhead: Overhead = FREE) -> None:
        self.subject, self.rows, self.clock, self.overhead = subject, rows, clock, overhead

    def prepare(self) -> None:
        """Nothing is needed."""

    def sample(self) -> dict[Row, float]:
        marks = self.rows.walked(self.subject, self.clock)
        self.clock.settle()
        return self.rows.booked(own_seconds(marks, self.clock, self.overhead))


def cost_of_marks(clock: Clock, *, train: bool) -> dict[Kind, float]:
    """Seconds that one mark adds to a pass: a chain of nothing with marks, less the same chain without."""
    with torch.enable_grad():
        return {"call": _cost(clock, _calls), "node": _cost(clock, _nodes) if train else 0.0, "stage": 0.0}


def _cost(clock: Clock, chain: Callable[[Clock, bool], float]) -> float:
    marked, plain = (min(chain(clock, marks) for _ in range(REPEATS)) for marks in (True, False))
    return max(0.0, (marked - plain) / (2 * CHAIN))


def _calls(clock: Clock, marks: bool) -> float:
    """Seconds for a chain of modules that do nothing."""
    model, tensor = nn.Sequential(*(nn.Identity() for _ in range(CHAIN))), torch.empty(0)
    trail = Trail(model if marks else nn.Identity(), (), clock)
    trail.begins("forward", None)
    model(tensor)
    trail.begins("end", None)
    return _length(trail, clock)


def _nodes(clock: Clock, marks: bool) -> float:
    """Seconds for the backward pass of a chain of the smallest ops."""
    loss = torch.ones((), requires_grad=True)
    for _ in range(CHAIN - 1):  # the last node keeps the gradient
        loss = loss.neg()
    trail = Trail(nn.Identity(), (), clock)
    trail.begins("backward", loss if marks else None)
    loss.backward()  # type: ignore[no-untyped-call]
    trail.begins("end", None)
    return _length(trail, clock)


def _length(trail: Trail, clock: Clock) -> float:
    """From the mark of the last stage before the end to the end."""
    trail.close()
    clock.settle()
    start, end = [mark.handle for mark in trail.marks if mark.kind == "stage"][-2:]
    return clock.seconds(start, end)
