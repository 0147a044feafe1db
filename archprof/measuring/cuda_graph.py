"""Passes without the gaps of launches: captured once as a CUDA graph, and replayed.

The events at the borders of modules are captured too, as external ones, so that every replay writes them anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from archprof.measuring.boundaries import Mark, Marking
from archprof.measuring.events import Event, EventClock, Gpu, Replay
from archprof.measuring.live_model import Subject


class Graph:
    """Two graphs of one pass: with a mark at every border, and with one at its two ends.

    The pair of events is inside the graph, so that launching it takes no part in the time.
    Without `rows` (a compiled model whose kernels could not be marked) there is only the second.
    """

    def __init__(self, subject: Subject, rows: Marking | None, gpu: Gpu) -> None:
        self.subject, self.rows, self.gpu = subject, rows, gpu
        self.clock, self.ends = EventClock(gpu), EventClock(gpu)
        self.marks: Sequence[Mark] = ()
        self.pair: tuple[Event, Event] | None = None
        self._marked: Replay | None = None
        self._bare: Replay | None = None

    def prepare(self) -> None:
        """Capture both graphs, if that was not done; raises what torch raises when it cannot be."""
        if self._bare is None:
            if self.rows is not None:
                self._marked = self.gpu.capture(self._run_marked, self.clock.settle)
            self._bare = self.gpu.capture(self._run_bare, self.ends.settle)

    def marked(self) -> Sequence[Mark]:
        assert self._marked is not None
        self._marked.replay()
        self.gpu.synchronize()
        return self.marks

    def bare(self) -> float:
        assert self._bare is not None
        assert self.pair is not None
        self._bare.replay()
        self.gpu.synchronize()
        start, end = self.pair
        return self.ends.seconds(start, end)

    def _run_marked(self) -> None:
        assert self.rows is not None
        self.marks = self.rows.walked(self.subject, self.clock)

    def _run_bare(self) -> None:
        start = self.ends.mark()
        self.subject.run()
        self.pair = start, self.ends.mark()
