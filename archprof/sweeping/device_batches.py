"""Whether a run fits on each GPU of the catalogue, and the largest batch there: by few traces, for memory is nearly
linear in the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.predicting.devices import Device, load_catalogue
from archprof.predicting.memory import predict_memory
from archprof.predicting.memory_capacity import Verdict, find_capacity, judge
from archprof.predicting.memory_events import Workspaces
from archprof.predicting.size_limits import find_refusal
from archprof.predicting.workspaces import choose_workspaces
from archprof.tracing.profile import profile_model

MOST_BATCH = 2**16
AFFORDABLE_OPS = 20_000
"""In all traces together: some seconds. Then there are one or two more for each size of memory, below the guess."""

MOST_OPS = 10 * AFFORDABLE_OPS
"""Behind that nothing is traced any more."""

BELOW = 0.99
"""Of the batch that is expected to be the largest, so that it surely fits."""

NEAR = 0.97
"""Of that: what is known to fit is near enough to it."""

MOST_TRIES = 2

APART = 0.1
"""How far two batches lie apart, as a share of one, whose line tells what others use: nearer, segments blur it."""


class LargestBatch(NamedTuple):
    """The largest that fits, as predicted; 0: none does. `exact`: the next was traced, too, and does not fit."""

    batch: int
    exact: bool


class OnDevice(NamedTuple):
    """What is said of a device. `largest`: `None` where a batch changes nothing."""

    verdict: Verdict
    largest: LargestBatch | None


def judge_every_device(model: Any, inputs: Any, request: PassRequest, profile: Profile) -> tuple[OnDevice, ...]:
    """A GPU each whose memory is known, the smallest first."""
    devices = [device for device in load_catalogue() if device.kind == "gpu" and "mem_gb" in device.figures]
    kinds = {workspaces.kept_bytes: workspaces for workspaces in (choose_workspaces(one.name) for one in devices)}
    search = _BatchSearch(lambda batch: profile_model(model, inputs, replace(request, batch=batch)), profile, kinds)
    found = []
    for device in sorted(devices, key=find_capacity):
        verdict = judge(predict_memory(profile, choose_workspaces(device.name)), device)
        found.append(OnDevice(verdict, search.find_largest(device)))
    return tuple(found)


class _BatchSearch:
    """What batches use by the workspaces of a device, each traced once and only if it is asked for."""

    def __init__(self, trace_at: Callable[[int], Profile], profile: Profile, kinds: Mapping[int, Workspaces]) -> None:
        self.trace_at, self.kinds, self.ops = trace_at, kinds, 0
        self.used: dict[int, dict[int, int]] = {}
        self.refused: set[int] = set()  # batches that no GPU runs
        self._predict(profile.batch, profile)
        try:
            twice = trace_at(2 * profile.batch)
            self.is_free = twice.totals != profile.totals  # inputs may be exact
            self._predict(2 * profile.batch, twice)
        except ArchprofError:
            self.is_free = False

    def _predict(self, batch: int, profile: Profile) -> None:
        self.ops += len(profile.ops)
        if find_refusal(profile) is not None:
            self.refused.add(batch)
        self.used[batch] = {
            kept: predict_memory(profile, workspaces).needed_bytes.value for kept, workspaces in self.kinds.items()
        }

    def find_largest(self, device: Device) -> LargestBatch | None:
        if not self.is_free:
            return None
        capacity, kind = find_capacity(device), choose_workspaces(device.name).kept_bytes
        tries = 0
        while True:
            low = max((batch for batch in self.used if self._runs(batch, capacity, kind)), default=0)
            high = min((batch for batch in self.used if batch > low), default=MOST_BATCH + 1)
            if high - low == 1 or low == MOST_BATCH:
                return LargestBatch(low, exact=low < MOST_BATCH)
            tries += 1
            is_last = self.ops > AFFORDABLE_OPS
            guess = int(self._guess(capacity, kind) * (BELOW if is_last else 1))
            batch = (low + high) // 2 if tries % 4 == 0 else min(max(guess, low + 1), high - 1)
            is_over = self.ops > MOST_OPS or (is_last and (tries > MOST_TRIES or low >= NEAR * guess))
            if is_over:
                return LargestBatch(low, exact=False)
            try:
                self._predict(batch, self.trace_at(batch))
            except ArchprofError:
                return LargestBatch(low, exact=False)

    def _runs(self, batch: int, capacity: int, kind: int) -> bool:
        return batch not in self.refused and self.used[batch][kind] <= capacity

    def _guess(self, capacity: int, kind: int) -> float:
        """By the line through the batch whose use is nearest to the capacity, and one that is not next to it."""
        by_distance = sorted(self.used, key=lambda batch: abs(self.used[batch][kind] - capacity))
        first = by_distance[0]
        apart = [batch for batch in by_distance if abs(batch - first) > APART * first]
        second = apart[0] if apart else by_distance[1]
        slope = (self.used[second][kind] - self.used[first][kind]) / (second - first)
        return first + (capacity - self.used[first][kind]) / slope if slope > 0 else 2.0 * max(self.used)
