"""Passes under torch's profiler, for the time of the kernels alone and for their names.

What the host does takes longer under it, and in the process for some time after (pytorch#144455): only device times are
read from a session, and it comes after everything else.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from archprof.facts.measured import Kernel
from archprof.facts.overlays import Outside
from archprof.measuring.boundaries import Marking, RangeMarker, open_range
from archprof.measuring.live_model import LiveModel
from archprof.measuring.profiled.kernel_owners import (
    PASS_NAME,
    ChargedWork,
    WorkAttribution,
    collect_kernels,
    sum_seconds_by_row,
)
from archprof.measuring.profiled.profiler_trace import parse_trace
from archprof.measuring.protocols import RowKey, Unmeasurable
from archprof.torchside.private import is_profiling

ACTIVITIES = ProfilerActivity.CPU, ProfilerActivity.CUDA
"""What the profiler watches: marks are of the CPU, kernels of the GPU."""

PASSES_PER_SESSION = 8
"""Passes in one session. The first is thrown away: the GPU may have slowed down while the session began."""

NO_KERNELS_SEEN = (
    "Kernel times could not be had: the profiler saw nothing on the GPU. NVIDIA's CUPTI may lack the right to look, as "
    "in some containers, or another profiler may hold it."
)

PROFILER_BUSY = "Kernel times could not be had: another profiler of torch was running."

NOT_LED_BACK = "Kernels that lead back to no layer stand under (unattributed): {names}."


class ProfiledSampler:
    """Samples the kernel time of every row; one session serves several samples.

    Attributes:
        kernels: of each row; filled by the first sample.
        notes: what the reader must know; filled by the first sample.
    """

    def __init__(self, subject: LiveModel, rows: Marking, synchronize: Callable[[], None]) -> None:
        self.subject, self.marking, self.synchronize = subject, rows, synchronize
        self.kernels: dict[RowKey, tuple[Kernel, ...]] = {}
        self.notes: list[str] = []
        self._samples: deque[dict[RowKey, float]] = deque()

    def prepare(self) -> None:
        """Nothing: a session slows down what comes after it."""

    def sample(self) -> dict[RowKey, float]:
        if not self._samples:
            self._keep_samples(profile_passes(self.subject, self.marking, self.synchronize, PASSES_PER_SESSION))
        return self._samples.popleft()

    def _keep_samples(self, charged: Sequence[ChargedWork]) -> None:
        if not charged:
            raise Unmeasurable(NO_KERNELS_SEEN)
        turns = range(1, PASSES_PER_SESSION)
        self._samples.extend(self._row_seconds(charged, turn) for turn in turns)
        self.kernels.update(collect_kernels(charged, turns))
        self.notes[:] = _describe_doubts(charged)

    def _row_seconds(self, charged: Sequence[ChargedWork], turn: int) -> dict[RowKey, float]:
        """A called row without kernels took no time; what leads back to no row is what the rows leave of the whole."""
        found = sum_seconds_by_row(charged, turn)
        found.pop(Outside.UNATTRIBUTED, None)
        return self.marking.charge_to_rows(dict.fromkeys(self.marking.called_rows, 0.0) | found)


def _describe_doubts(charged: Sequence[ChargedWork]) -> list[str]:
    names = sorted({one.work.name for one in charged if one.row == Outside.UNATTRIBUTED})
    return [NOT_LED_BACK.format(names=", ".join(names))] if names else []


def profile_passes(
    subject: LiveModel,
    rows: Marking,
    synchronize: Callable[[], None],
    passes: int,
) -> list[ChargedWork]:
    """Run passes under the profiler, and charge the work of the device to rows.

    Raises:
        Unmeasurable: another profiler is running, or the trace cannot be read.
    """
    if is_profiling():
        raise Unmeasurable(PROFILER_BUSY)
    text, owners = record_trace(subject, rows, synchronize, passes, ACTIVITIES)
    try:
        trace = parse_trace(text)
    except ValueError as error:
        raise Unmeasurable(f"Kernel times could not be had: the profiler's trace cannot be read ({error}).") from error
    return WorkAttribution(trace, owners).charge_work()


def record_trace(
    subject: LiveModel,
    rows: Marking,
    synchronize: Callable[[], None],
    passes: int,
    activities: Sequence[ProfilerActivity],
) -> tuple[str, list[RowKey | None]]:
    """The exported trace of some passes, and the row of each mark in it."""
    clock, owners = RangeMarker(), list[RowKey | None]()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # what torch has to say of its own sessions
        with profile(activities=activities, acc_events=True) as profiler:
            for _ in range(passes):
                with open_range(PASS_NAME):
                    owners += [mark.row for mark in rows.run_with_marks(subject, clock, nodes=False)]
                    synchronize()
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return path.read_text(encoding="utf-8", errors="replace"), owners
