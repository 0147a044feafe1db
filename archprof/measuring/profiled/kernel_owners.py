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
from archprof.facts.overlays import Outside
from archprof.measuring.boundaries import MARK_PREFIX
from archprof.measuring.profiled.profiler_trace import DeviceWork, HostPlace, HostSpan, ProfilerTrace
from archprof.measuring.protocols import RowKey

PASS_NAME = "archprof pass"
"""The name of the range around each pass."""

NODE_PREFIX = "autograd::engine::evaluate_function: "
ACCUMULATE_NAME = "AccumulateGrad"
"""How torch names the evaluation of an autograd node, and the node that adds to a `.grad`."""


class ChargedWork(NamedTuple):
    """Device work, the pass that it was of and the row that it worked for."""

    pass_index: int
    row: RowKey
    work: DeviceWork


class WorkAttribution:
    """Answers for one trace whose marks stood for `rows`, by the number of the mark; `None`: of no module."""

    def __init__(self, trace: ProfilerTrace, rows: Sequence[RowKey | None]) -> None:
        self.trace, self.mark_rows = trace, rows
        spans = [span for thread in trace.spans.values() for span in thread]
        self._pass_starts = sorted(span.start for span in spans if span.name == PASS_NAME)
        self._marks: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for span in spans:
            if span.name.startswith(MARK_PREFIX):
                self._marks[span.thread].append((span.start, int(span.name.removeprefix(MARK_PREFIX))))
        for marks in self._marks.values():
            marks.sort()
        self._last_op_by_node = self._find_last_ops()
        self._forward_thread_ids = self._find_forward_threads()

    def charge_work(self) -> list[ChargedWork]:
        """Every piece of device work once; the sum over the rows is the sum of the work."""
        found = []
        for work in self.trace.work:
            place = self.trace.find_launch(work)
            row = Outside.UNATTRIBUTED if place is None else self.find_row(place)
            found.append(ChargedWork(self._find_pass(work.start if place is None else place[1]), row, work))
        assert sum(one.work.nanoseconds for one in found) == sum(work.nanoseconds for work in self.trace.work)
        return found

    def find_row(self, place: HostPlace) -> RowKey:
        """The row that a moment on a host thread belongs to."""
        outer = next((span for span in self.trace.find_enclosing(place) if _decides_row(span)), None)
        mark = self._find_last_mark(place)
        if mark is not None and (outer is None or mark[0] >= outer.start):
            # A module that runs inside a node: checkpointing does that.
            return self.mark_rows[mark[1]] or Outside.OUTSIDE_MODULES
        if outer is None:
            return Outside.OUTSIDE_MODULES if place[0] in self._marks else Outside.UNATTRIBUTED
        return Outside.GRADIENT_ACCUMULATION if ACCUMULATE_NAME in outer.name else self._find_maker_row(outer)

    def _find_maker_row(self, node: HostSpan) -> RowKey:
        """The row of the forward op that made an autograd node."""
        thread = self._forward_thread_ids.get(node.forward_thread)
        maker = None if thread is None or node.sequence is None else self._last_op_by_node.get((thread, node.sequence))
        return Outside.UNATTRIBUTED if maker is None else self.find_row((maker.thread, maker.start))

    def _find_last_mark(self, place: HostPlace) -> tuple[int, int] | None:
        """When and which was the last mark on a thread before a moment."""
        marks = self._marks.get(place[0], [])
        index = bisect_right(marks, (place[1], len(self.mark_rows))) - 1
        return marks[index] if index >= 0 else None

    def _find_pass(self, when: int) -> int:
        """The pass that a moment lies in or after."""
        return max(0, bisect_right(self._pass_starts, when) - 1)

    def _find_last_ops(self) -> dict[tuple[int, int], HostSpan]:
        """By thread and sequence number the op that made the node: the last that started with it."""
        return {
            (thread, span.sequence): span
            for thread, spans in self.trace.spans.items()
            for span in spans
            if span.sequence is not None and not span.forward_thread
        }

    def _find_forward_threads(self) -> dict[int, int]:
        """The system's number of each forward thread, by torch's own.

        The arrows of the trace tell. Without any it is the thread that the passes ran on.
        """
        nodes = [span for spans in self.trace.spans.values() for span in spans if span.forward_thread]
        ours = [thread for thread, spans in self.trace.spans.items() if any(span.name == PASS_NAME for span in spans)]
        told = {
            span.forward_thread: self.trace.flows[span.thread, span.start][0]
            for span in nodes
            if (span.thread, span.start) in self.trace.flows
        }
        return {span.forward_thread: thread for span in nodes for thread in ours} | told


def _decides_row(span: HostSpan) -> bool:
    """Whether a span says by itself whose work runs inside."""
    return bool(span.forward_thread) or span.name.startswith(NODE_PREFIX)


def sum_seconds_by_row(charged: Sequence[ChargedWork], turn: int) -> dict[RowKey, float]:
    """Kernel time of one pass by row."""
    total: Counter[RowKey] = Counter()
    for one in charged:
        if one.pass_index == turn:
            total[one.row] += one.work.nanoseconds
    return {row: nanoseconds / 1e9 for row, nanoseconds in total.items()}


def collect_kernels(charged: Sequence[ChargedWork], turns: Sequence[int]) -> dict[RowKey, tuple[Kernel, ...]]:
    """The kernels of each row, the longest first; a number and seconds are of an average pass."""
    counts: dict[RowKey, Counter[str]] = defaultdict(Counter)
    times: dict[RowKey, Counter[str]] = defaultdict(Counter)
    for one in charged:
        if one.pass_index in turns:
            counts[one.row][one.work.name] += 1
            times[one.row][one.work.name] += one.work.nanoseconds
    passes = len(turns)
    return {
        row: tuple(
            Kernel(name, round(counts[row][name] / passes), nanoseconds / 1e9 / passes)
            for name, nanoseconds in found.most_common()
        )
        for row, found in times.items()
        if not isinstance(row, Outside)
    }
