"""From the kernels that a profiler saw to the rows they worked for.

A kernel is charged to what ran on the host when it was launched. In the forward pass that is the row of the last mark
before; in the backward pass the launch stands inside an autograd node, and the node was made by the last forward op
with its sequence number on its forward thread: earlier ops with that number made no node, since the number only rises
when one is made. (torch's own tables take the first.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from archprof.facts.measured import Kernel
from archprof.measuring.profiled.profiler_trace import Place, Span, Trace, Work
from archprof.measuring.protocols import ACCUMULATION, OUTSIDE, UNATTRIBUTED, Row

MARK = "archprof mark "
"""Begins the name of the ranges that stand for marks; their number follows."""

PASS = "archprof pass"
"""The name of the range around each pass."""

NODE = "autograd::engine::evaluate_function: "
ACCUMULATE = "AccumulateGrad"
"""How torch names the evaluation of an autograd node, and the node that adds to a `.grad`."""


class Charged(NamedTuple):
    """Device work, the pass that it was of and the row that it worked for."""

    turn: int
    row: Row
    work: Work


class Attribution:
    """Answers for one trace whose marks stood for `rows`, by the number of the mark; `None`: of no module."""

    def __init__(self, trace: Trace, rows: Sequence[Row | None]) -> None:
        self.trace, self.rows = trace, rows
        spans = [span for thread in trace.spans.values() for span in thread]
        self._turns = sorted(span.start for span in spans if span.name == PASS)
        self._marks: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for span in spans:
            if span.name.startswith(MARK):
                self._marks[span.thread].append((span.start, int(span.name.removeprefix(MARK))))
        for marks in self._marks.values():
            marks.sort()
        self._makers = self._last_ops()
        self._threads = self._forward_threads()

    def charged(self) -> list[Charged]:
        """Every piece of device work once; the sum over the rows is the sum of the work."""
        found = []
        for work in self.trace.work:
            place = self.trace.launched(work)
            row = UNATTRIBUTED if place is None else self.row_at(place)
            found.append(Charged(self._turn(work.start if place is None else place[1]), row, work))
        assert sum(one.work.nanoseconds for one in found) == sum(work.nanoseconds for work in self.trace.work)
        return found

    def row_at(self, place: Place) -> Row:
        """The row that a moment on a host thread belongs to."""
        outer = next((span for span in self.trace.around(place) if _decides(span)), None)
        mark = self._mark(place)
        if mark is not None and (outer is None or mark[0] >= outer.start):
            return self.rows[mark[1]] or OUTSIDE  # a module that runs inside a node: checkpointing does that
        if outer is None:
            return OUTSIDE if place[0] in self._marks else UNATTRIBUTED
        return ACCUMULATION if ACCUMULATE in outer.name else self._made(outer)

    def _made(self, node: Span) -> Row:
        """The row of the forward op that made an autograd node."""
        thread = self._threads.get(node.forward_thread)
        maker = None if thread is None or node.sequence is None else self._makers.get((thread, node.sequence))
        return UNATTRIBUTED if maker is None else self.row_at((maker.thread, maker.start))

    def _mark(self, place: Place) -> tuple[int, int] | None:
        """When and which was the last mark on a thread before a moment."""
        marks = self._marks.get(place[0], [])
        index = bisect_right(marks, (place[1], len(self.rows))) - 1
        return marks[index] if index >= 0 else None

    def _turn(self, when: int) -> int:
        """The pass that a moment lies in or after."""
        return max(0, bisect_right(self._turns, when) - 1)

    def _last_ops(self) -> dict[tuple[int, int], Span]:
        """By thread and sequence number the op that made the node: the last that started with it."""
        return {
            (thread, span.sequence): span
            for thread, spans in self.trace.spans.items()
            for span in spans
            if span.sequence is not None and not span.forward_thread
        }

    def _forward_threads(self) -> dict[int, int]:
        """The system's number of each forward thread, by torch's own.

        The arrows of the trace tell. Without any it is the thread that the passes ran on.
        """
        nodes = [span for spans in self.trace.spans.values() for span in spans if span.forward_thread]
        ours = [thread for thread, spans in self.trace.spans.items() if any(span.name == PASS for span in spans)]
        told = {
            span.forward_thread: self.trace.flows[span.thread, span.start][0]
            for span in nodes
            if (span.thread, span.start) in self.trace.flows
        }
        return {span.forward_thread: thread for span in nodes for thread in ours} | told


def _decides(span: Span) -> bool:
    """Whether a span says by itself whose work runs inside."""
    return bool(span.forward_thread) or span.name.startswith(NODE)


def seconds(charged: Sequence[Charged], turn: int) -> dict[Row, float]:
    """Kernel time of one pass by row."""
    total: Counter[Row] = Counter()
    for one in charged:
        if one.turn == turn:
            total[one.row] += one.work.nanoseconds
    return {row: nanoseconds / 1e9 for row, nanoseconds in total.items()}


def by_name(charged: Sequence[Charged], turns: Sequence[int]) -> dict[str, tuple[Kernel, ...]]:
    """The kernels of each row, by "path#call", the longest first; a number and seconds are of an average pass."""
    counts: dict[Row, Counter[str]] = defaultdict(Counter)
    times: dict[Row, Counter[str]] = defaultdict(Counter)
    for one in charged:
        if one.turn in turns:
            counts[one.row][one.work.name] += 1
            times[one.row][one.work.name] += one.work.nanoseconds
    passes = len(turns)
    return {
        f"{path}#{call}": tuple(
            Kernel(name, round(counts[path, call][name] / passes), nanoseconds / 1e9 / passes)
            for name, nanoseconds in found.most_common()
        )
        for (path, call), found in times.items()
        if call is not None
    }
