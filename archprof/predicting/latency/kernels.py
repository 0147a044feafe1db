"""The time of one kernel on one device."""

from __future__ import annotations

from typing import NamedTuple

from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.rates import Rates
from archprof.predicting.latency.works import Work


class KernelTime(NamedTuple):
    """Seconds of one kernel: by its arithmetic, by its bytes, and to start it; `least` is the roofline's."""

    arithmetic: float
    memory: float
    start: float
    least: float

    @property
    def seconds(self) -> float:
        """The larger of arithmetic and memory, after the start."""
        return max(self.arithmetic, self.memory) + self.start


NOTHING = KernelTime(0.0, 0.0, 0.0, 0.0)


def time_kernel(work: Work, rates: Rates, tf32: tuple[bool, bool]) -> KernelTime:
    """What a kernel takes; `tf32`: float32 factors of matrix products, and of convolutions, are rounded to it."""
    if work.kind == "view":
        return NOTHING
    constants = load_constants()
    dtype = work.dtype
    if dtype == "float32" and tf32[work.kind not in ("matmul", "bmm")] and "tf32" in rates.peaks:
        dtype = "tf32"
    peak = rates.peak(dtype)
    flops = 2 * work.macs if work.macs else 0
    nbytes = work.read + work.written
    return KernelTime(
        flops / (peak * constants["arithmetic"]),
        nbytes / (rates.bandwidth * constants["bandwidth"]),
        constants["kernel_start_seconds"],
        max(flops / peak, nbytes / rates.bandwidth),
    )
