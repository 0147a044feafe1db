"""Passes without the gaps of launches where a graph cannot be had: the GPU is kept waiting until the host is done.

A kernel that only lets time pass goes first. While it runs the host puts the whole pass into the stream, and the GPU
then finds its work there without a gap. It fails where the host needs longer than the wait, or waits for the GPU
itself; that is seen, and said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from archprof.measuring.boundaries import Mark, Marking
from archprof.measuring.events import Event, EventClock, Gpu
from archprof.measuring.live_model import Subject

CYCLES = 20_000_000
"""A sleep long enough to tell how many cycles are a second: about 10 ms."""

LEAST, MOST = 1e-3, 0.5
"""Seconds that a sleep takes."""

LAUNCH_BOUND = (
    "launch-bound: the host needed up to {host:.1f} ms to enqueue a pass, longer than the queue was held, "
    "so that gaps between launches are part of these times"
)

Result = TypeVar("Result")


class Queue:
    """Passes behind a sleep."""

    def __init__(
        self,
        subject: Subject,
        rows: Marking | None,
        gpu: Gpu,
        notes: list[str],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.subject, self.rows, self.gpu, self.notes, self.now = subject, rows, gpu, notes, now
        self.clock = EventClock(gpu)
        self.cycles = 0
        self.slowest = 0.0
        self._note: str | None = None

    def prepare(self) -> None:
        """Find out how long the queue must be held: twice what the host needs."""
        if self.cycles:
            return
        per_second = self._cycles_per_second()
        for _ in range(3):
            start = self.now()
            self._enqueue()
            host = self.now() - start
            self.clock.settle()
        self.cycles = round(per_second * min(MOST, LEAST + 2 * host))

    def marked(self) -> Sequence[Mark]:
        assert self.rows is not None
        rows = self.rows
        return self._behind_sleep(lambda: rows.walked(self.subject, self.clock))

    def bare(self) -> float:
        start, end = self._behind_sleep(self._between_events)
        return self.clock.seconds(start, end)

    def _between_events(self) -> tuple[Event, Event]:
        start = self.clock.mark()
        self.subject.run()
        return start, self.clock.mark()

    def _enqueue(self) -> None:
        if self.rows is None:
            self.subject.run()
        else:
            self.rows.walked(self.subject, self.clock)

    def _behind_sleep(self, enqueue: Callable[[], Result]) -> Result:
        before = self.clock.mark()
        self.gpu.sleep(self.cycles)
        after = self.clock.mark()
        start = self.now()
        result = enqueue()
        host = self.now() - start
        self.clock.settle()
        if host > self.clock.seconds(before, after):
            self._too_slow(host)
        return result

    def _too_slow(self, host: float) -> None:
        """Say so once, with the longest time."""
        self.slowest = max(self.slowest, host)
        if self._note in self.notes:
            self.notes.remove(self._note)
        self._note = LAUNCH_BOUND.format(host=self.slowest * 1000)
        self.notes.append(self._note)

    def _cycles_per_second(self) -> float:
        seconds = 0.0
        for _ in range(2):  # the first loads the kernel
            start = self.clock.mark()
            self.gpu.sleep(CYCLES)
            end = self.clock.mark()
            self.clock.settle()
            seconds = self.clock.seconds(start, end)
        return CYCLES / seconds
