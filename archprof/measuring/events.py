"""Moments on a GPU, and the passes between them: events that the stream writes down when it gets to them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

from archprof.facts.measured import Method
from archprof.measuring.boundaries import NO_OVERHEAD, sum_own_seconds
from archprof.measuring.passes import PassSource, RowSampler, WholeSampler
from archprof.measuring.protocols import MeasuredWay


class Event(Protocol):
    """What is used of `torch.cuda.Event(enable_timing=True)`."""

    def record(self) -> None:
        """Put it into the current stream."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this one to a later one; both must be over."""


class Replay(Protocol):
    """What is used of a captured graph."""

    def replay(self) -> None:
        """Put all captured work into the current stream at once."""


class Gpu(Protocol):
    """What is used of a GPU: small enough for tests to play it."""

    def event(self) -> Event:
        """A new event that measures time, and that a replayed graph writes anew where it was captured."""

    def synchronize(self) -> None:
        """Wait for all work."""

    def sleep(self, cycles: int) -> None:
        """Keep the current stream busy for this many clock cycles."""

    def capture(self, run: Callable[[], Any], between: Callable[[], None]) -> Replay:
        """The work that `run` gives to the GPU, as a graph.

        It runs a few times before, to load and choose what is loaded and chosen once; `between` follows each of these.

        Raises:
            Exception: of torch's many kinds, when something in it cannot be captured.
        """


class EventClock:
    """The clock of a GPU.

    Events are kept and recorded again, since making one costs more than recording it: the marks of a pass can be read
    until the first mark after `settle`. Those in a captured graph are written anew by every replay; their clock makes
    no further marks, so they can be read as long as there is the graph.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._events: list[Event] = []
        self._used = 0
        self._settled = False

    def mark(self) -> Event:
        if self._settled:
            self._used, self._settled = 0, False
        if self._used == len(self._events):
            self._events.append(self._gpu.event())
        event = self._events[self._used]
        self._used += 1
        event.record()
        return event

    def settle(self) -> None:
        self._gpu.synchronize()
        self._settled = True

    def seconds(self, start: Event, end: Event) -> float:
        return start.elapsed_time(end) / 1000


def make_event_way(method: Method, source: PassSource, notes: list[str]) -> MeasuredWay:
    """Prepare a source, and make the way that samples its rows and its whole; without marks the whole alone.

    Args:
        notes: of the way; the source may add to them while it is sampled.
    """
    source.prepare()
    if source.marking is None:
        return MeasuredWay(method, None, WholeSampler(source), notes=notes)
    overhead = measure_cost_in_place(source)
    marked, attributed = RowSampler(source, dict.fromkeys(NO_OVERHEAD, overhead)), source.marking.attributed
    return MeasuredWay(method, marked, WholeSampler(source), attributed, overhead=overhead, notes=notes)


OVERHEAD_TRIES = 15
"""Passes of each kind from which the cost of a mark is taken ..."""

OVERHEAD_SECONDS = 2.0
"""... or as many as fit into these seconds, but three ..."""

RAMP_UP_SECONDS = 0.3
"""... after so many seconds of passes, in which the GPU's clock rises."""


def measure_cost_in_place(source: PassSource, now: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that one mark adds to a pass of this source: passes with marks against passes without, in turns.

    Measured on the pass itself, since it depends on what is around: a host that is ahead of the GPU hides what it does
    for a mark, and the event alone is left.
    """
    start = now()
    while now() - start < RAMP_UP_SECONDS:
        source.run_bare()
    start, with_marks, without, stretches = now(), list[float](), list[float](), 0
    while len(without) < OVERHEAD_TRIES and (len(without) < 3 or now() - start < OVERHEAD_SECONDS):
        without.append(source.run_bare())
        marks = source.run_marked()
        with_marks.append(sum(sum_own_seconds(marks, source.clock).values()))
        stretches = sum(mark.row is not None for mark in marks[:-1])
    more = statistics.median(with_marks) - statistics.median(without)
    return max(0.0, more / max(1, stretches - 1))  # a bare pass is one stretch, and has its mark
