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
from archprof.measuring.live_model import LiveModel

TRIAL_CYCLES = 20_000_000
"""A sleep long enough to tell how many cycles are a second: about 10 ms."""

MIN_HOLD_SECONDS, MAX_HOLD_SECONDS = 1e-3, 0.5
"""Seconds that a sleep takes."""

LAUNCH_BOUND_NOTE = (
    "launch-bound: the host needed up to {host:.1f} ms to enqueue a pass, longer than the queue was held, "
    "so that gaps between launches are part of these times"
)

Result = TypeVar("Result")


class HeldQueueSource:
    """Passes behind a sleep."""

    def __init__(
        self,
        subject: LiveModel,
        rows: Marking | None,
        gpu: Gpu,
        notes: list[str],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.subject, self.marking, self.gpu, self.notes, self.now = subject, rows, gpu, notes, now
        self.clock = EventClock(gpu)
        self.hold_cycles = 0
        self.slowest_host_seconds = 0.0
        self._note: str | None = None

    def prepare(self) -> None:
        """Find out how long the queue must be held: twice what the host needs."""
        if self.hold_cycles:
            return
        per_second = self._measure_cycles_per_second()
        for _ in range(3):
            start = self.now()
            self._enqueue()
            host = self.now() - start
            self.clock.settle()
        self.hold_cycles = round(per_second * min(MAX_HOLD_SECONDS, MIN_HOLD_SECONDS + 2 * host))

    def run_marked(self) -> Sequence[Mark]:
        assert self.marking is not None
        rows = self.marking
        return self._run_behind_sleep(lambda: rows.run_with_marks(self.subject, self.clock))

    def run_bare(self) -> float:
        start, end = self._run_behind_sleep(self._run_between_events)
        return self.clock.seconds(start, end)

    def _run_between_events(self) -> tuple[Event, Event]:
        start = self.clock.mark()
        self.subject.run_pass()
        return start, self.clock.mark()

    def _enqueue(self) -> None:
        if self.marking is None:
            self.subject.run_pass()
        else:
            self.marking.run_with_marks(self.subject, self.clock)

    def _run_behind_sleep(self, enqueue: Callable[[], Result]) -> Result:
        before = self.clock.mark()
        self.gpu.sleep(self.hold_cycles)
        after = self.clock.mark()
        start = self.now()
        result = enqueue()
        host = self.now() - start
        self.clock.settle()
        if host > self.clock.seconds(before, after):
            self._note_launch_bound(host)
        return result

    def _note_launch_bound(self, host: float) -> None:
        """Say so once, with the longest time."""
        self.slowest_host_seconds = max(self.slowest_host_seconds, host)
        if self._note in self.notes:
            self.notes.remove(self._note)
        self._note = LAUNCH_BOUND_NOTE.format(host=self.slowest_host_seconds * 1000)
        self.notes.append(self._note)

    def _measure_cycles_per_second(self) -> float:
        seconds = 0.0
        for _ in range(2):  # the first loads the kernel
            start = self.clock.mark()
            self.gpu.sleep(TRIAL_CYCLES)
            end = self.clock.mark()
            self.clock.settle()
            seconds = self.clock.seconds(start, end)
        return TRIAL_CYCLES / seconds
