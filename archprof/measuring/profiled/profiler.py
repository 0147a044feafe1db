"""Passes under torch's profiler, for the time of the kernels alone and for their names.

What the host does takes longer under it, and in the process for some time after (pytorch#144455): only device times are
read from a session, and it comes after everything else.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from archprof.facts.measured import Kernel
from archprof.measuring.boundaries import Marking
from archprof.measuring.live_model import Subject
from archprof.measuring.profiled.kernel_owners import MARK, PASS, Attribution, Charged, by_name, seconds
from archprof.measuring.profiled.profiler_trace import read
from archprof.measuring.protocols import UNATTRIBUTED, Row, Unmeasurable

PASSES = 8
"""Passes in one session. The first is thrown away: the GPU may have slowed down while the session began."""

SAW_NOTHING = (
    "Kernel times could not be had: the profiler saw nothing on the GPU. NVIDIA's CUPTI may lack the right to look, as "
    "in some containers, or another profiler may hold it."
)

BUSY = "Kernel times could not be had: another profiler of torch was running."

NOT_LED_BACK = "Kernels that lead back to no layer stand under (unattributed): {names}."


class RangeClock:
    """Marks that a profiler sees: ranges without length, numbered over all passes of a session."""

    def __init__(self) -> None:
        self.count = 0

    def mark(self) -> int:
        number = self.count
        self.count += 1
        with named(f"{MARK}{number}"):
            return number


def named(name: str) -> AbstractContextManager[Any]:
    """A range in the trace: by torch's fast private class (0.6 us), or by the public one (4.7 us) where it is gone."""
    fast: Any = getattr(torch._C._profiler, "_RecordFunctionFast", torch.profiler.record_function)
    return fast(name)  # type: ignore[no-any-return]


class Profiled:
    """Samples the kernel time of every row; one session serves several samples.

    Attributes:
        kernels: of each row, by "path#call"; filled by the first sample.
        notes: what the reader must know; filled by the first sample.
    """

    name = "pass under the profiler"

    def __init__(self, subject: Subject, rows: Marking, synchronize: Callable[[], None]) -> None:
        self.subject, self.rows, self.synchronize = subject, rows, synchronize
        self.kernels: dict[str, tuple[Kernel, ...]] = {}
        self.notes: list[str] = []
        self._samples: deque[dict[Row, float]] = deque()

    def prepare(self) -> None:
        """Nothing: a session slows down what comes after it."""

    def sample(self) -> dict[Row, float]:
        if not self._samples:
            self._take(session(self.subject, self.rows, self.synchronize, PASSES))
        return self._samples.popleft()

    def _take(self, charged: Sequence[Charged]) -> None:
        if not charged:
            raise Unmeasurable(SAW_NOTHING)
        turns = range(1, PASSES)
        self._samples.extend(self._row_seconds(charged, turn) for turn in turns)
        self.kernels.update(by_name(charged, turns))
        self.notes[:] = _doubts(charged)

    def _row_seconds(self, charged: Sequence[Charged], turn: int) -> dict[Row, float]:
        """A called row without kernels took no time; what leads back to no row is what the rows leave of the whole."""
        found = seconds(charged, turn)
        found.pop(UNATTRIBUTED, None)
        return self.rows.booked(dict.fromkeys(self.rows.called, 0.0) | found)


def _doubts(charged: Sequence[Charged]) -> list[str]:
    names = sorted({one.work.name for one in charged if one.row == UNATTRIBUTED})
    return [NOT_LED_BACK.format(names=", ".join(names))] if names else []


def session(
    subject: Subject,
    rows: Marking,
    synchronize: Callable[[], None],
    passes: int,
    activities: Sequence[ProfilerActivity] = (ProfilerActivity.CPU, ProfilerActivity.CUDA),
) -> list[Charged]:
    """Run passes under the profiler, and charge the work of the device to rows.

    Raises:
        Unmeasurable: another profiler is running, or the trace cannot be read.
    """
    if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        raise Unmeasurable(BUSY)
    text, owners = recorded(subject, rows, synchronize, passes, activities)
    try:
        trace = read(text)
    except ValueError as error:
        raise Unmeasurable(f"Kernel times could not be had: the profiler's trace cannot be read ({error}).") from error
    return Attribution(trace, owners).charged()


def recorded(
    subject: Subject,
    rows: Marking,
    synchronize: Callable[[], None],
    passes: int,
    activities: Sequence[ProfilerActivity],
) -> tuple[str, list[Row | None]]:
    """The exported trace of some passes, and the row of each mark in it."""
    clock, owners = RangeClock(), list[Row | None]()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # what torch has to say of its own sessions
        with profile(activities=activities, acc_events=True) as profiler:
            for _ in range(passes):
                with named(PASS):
                    owners += [mark.row for mark in rows.walked(subject, clock, nodes=False)]
                    synchronize()
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return path.read_text(encoding="utf-8", errors="replace"), owners
