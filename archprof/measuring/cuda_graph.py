"""Passes without the gaps of launches: captured once as a CUDA graph, and replayed.

The events at the borders of modules are captured too, as external ones, so that every replay writes them anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from archprof.measuring.boundaries import Mark, Marking
from archprof.measuring.events import Event, EventClock, Gpu, Replay
from archprof.measuring.live_model import LiveModel


class GraphSource:
    """Two graphs of one pass: with a mark at every border, and with one at its two ends.

    The pair of events is inside the graph, so that launching it takes no part in the time.
    Without `rows` (a compiled model whose kernels could not be marked) there is only the second.
    """

    def __init__(self, subject: LiveModel, rows: Marking | None, gpu: Gpu) -> None:
        self.subject, self.marking, self.gpu = subject, rows, gpu
        self.clock, self.end_clock = EventClock(gpu), EventClock(gpu)
        self.marks: Sequence[Mark] = ()
        self.end_events: tuple[Event, Event] | None = None
        self._marked_replay: Replay | None = None
        self._bare_replay: Replay | None = None

    def prepare(self) -> None:
        """Capture both graphs, if that was not done; raises what torch raises when it cannot be."""
        if self._bare_replay is None:
            if self.marking is not None:
                self._marked_replay = self.gpu.capture(self._enqueue_marked, self.clock.settle)
            self._bare_replay = self.gpu.capture(self._enqueue_bare, self.end_clock.settle)

    def run_marked(self) -> Sequence[Mark]:
        assert self._marked_replay is not None
        self._marked_replay.replay()
        self.gpu.synchronize()
        return self.marks

    def run_bare(self) -> float:
        assert self._bare_replay is not None
        assert self.end_events is not None
        self._bare_replay.replay()
        self.gpu.synchronize()
        start, end = self.end_events
        return self.end_clock.seconds(start, end)

    def _enqueue_marked(self) -> None:
        assert self.marking is not None
        self.marks = self.marking.run_with_marks(self.subject, self.clock)

    def _enqueue_bare(self) -> None:
        start = self.end_clock.mark()
        self.subject.run_pass()
        self.end_events = start, self.end_clock.mark()
