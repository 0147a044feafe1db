"""The time of an op on a device, remembered: equal ops take equally long, in whatever profile they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.kernels import Setting, time_kernel
from archprof.predicting.latency.launches import list_launch_seconds
from archprof.predicting.latency.passes import Pass, Step
from archprof.predicting.latency.rates import Rates

REMEMBERED_STEPS, REMEMBERED_TABLES = 2**16, 64


class Time(NamedTuple):
    """Seconds of an op, or summed over the ops of a row.

    Attributes:
        arithmetic, memory, start: of its kernels: bound by arithmetic, by memory, and to start them.
        least: the roofline.
        host: to launch it.
        gap: by which the host takes longer than the kernels, op by op.
        kind: the class of its first kernel; of a row, that of most of the time.
    """

    arithmetic: float
    memory: float
    start: float
    least: float
    host: float
    gap: float
    kind: str

    @property
    def kernel(self) -> float:
        """Of its kernels, altogether."""
        return self.arithmetic + self.memory + self.start

    def scale(self, factor: float) -> Time:
        """All but the roofline, which is not the model's."""
        return self._replace(
            arithmetic=factor * self.arithmetic, memory=factor * self.memory, start=factor * self.start,
            host=factor * self.host, gap=factor * self.gap,
        )  # fmt: skip


@lru_cache(REMEMBERED_TABLES)
def _share_table(rates: tuple[object, ...], setting: Setting) -> dict[int, Time]:
    """Times by the numbers of steps: the same table for all that has these rates."""
    return {}


def time_sums(run: Pass, rates: Rates, setting: Setting) -> list[Time]:
    """What each of the sums of a pass takes on a device, in the order of `Pass.sums`."""
    named = rates._asdict() | {"peaks": tuple(rates.peaks.items())}
    table = _share_table(tuple(named.values()), setting)
    if len(table) > REMEMBERED_STEPS:
        table.clear()
    times, launches = [], list_launch_seconds(load_constants()["kernels"])
    for step in run.steps:
        time = table.get(step.number)
        if time is None:
            time = table[step.number] = _time_step(step, rates, setting, launches)
        times.append(time)
    return [_sum_times([times[place] for place in places]) for places in run.sums]


def _sum_times(times: Sequence[Time]) -> Time:
    if len(times) == 1:
        return times[0]
    kinds: dict[str, float] = {}
    arithmetic = memory = start = least = host = gap = 0.0
    for time in times:
        arithmetic += time.arithmetic
        memory += time.memory
        start += time.start
        least += time.least
        host += time.host
        gap += time.gap
        kinds[time.kind] = kinds.get(time.kind, 0.0) + time.kernel
    return Time(arithmetic, memory, start, least, host, gap, max(kinds, key=kinds.__getitem__))


def _time_step(step: Step, rates: Rates, setting: Setting, launches: Sequence[float]) -> Time:
    """What an op takes, alone or with what `torch.compile` spares it."""
    constants = load_constants()["kernels"]
    arithmetic = memory = start = least = 0.0
    for work in step.works:
        time = time_kernel(work, rates, setting, constants)
        seconds = time.seconds - constants["start"]
        if time.arithmetic > time.memory:
            arithmetic += seconds
        else:
            memory += seconds
        start += 0.0 if step.joins else constants["start"]
        least += time.least
    host = 0.0 if step.joins else launches[step.launch] * rates.host
    gap = max(0.0, host - arithmetic - memory - start)
    return Time(arithmetic, memory, start, least, host, gap, step.kind)
