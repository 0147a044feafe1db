"""A GPU rehearsed on this machine's processor: events read the wall clock, and a graph is replayed by running again.

    PYTHONPATH=. python tests/gpu/rehearsed.py table lenet5 --cuda      # any command of archprof

What stands between the marks and the printed table is really run. Kernels, which only a GPU has, stand for the calls
that launch them, and memory is not told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from archprof.facts.ran import Ran
from archprof.facts.records import Profile
from archprof.measuring import run
from archprof.measuring.cuda import CudaDevice
from archprof.measuring.live_model import LiveModel
from archprof.measuring.protocols import MeasuredWay, PassMemory

CYCLE_SECONDS = 1e-9


class HostEvent:
    """A moment of the wall clock."""

    at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end_event: HostEvent) -> float:
        return 1000 * (end_event.at - self.at)


class HostReplay:
    """The same work once more."""

    def __init__(self, replay: Callable[[], Any]) -> None:
        self.replay = replay


class HostGpu:
    """The processor as `archprof.measuring.events.Gpu`."""

    event = staticmethod(HostEvent)

    def synchronize(self) -> None:
        """Nothing runs on its own."""

    def sleep(self, cycles: int) -> None:
        end = time.perf_counter() + cycles * CYCLE_SECONDS
        while time.perf_counter() < end:
            pass

    def capture(self, run: Callable[[], Any], between: Callable[[], None]) -> HostReplay:
        for _ in range(2):
            run()
            between()
        return HostReplay(run)


class Rehearsed(CudaDevice):
    """All that `CudaDevice` does, of which only the GPU under it is another."""

    kind = "cpu"
    name = "NVIDIA Rehearsed"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(HostGpu())

    def make_ways(self, subject: LiveModel, profile: Profile) -> list[MeasuredWay]:
        without_gaps, eager, *kernels = super().make_ways(subject, profile)
        if not kernels:
            return [without_gaps, eager]
        rows, whole = without_gaps.row_sampler, without_gaps.whole_sampler
        return [without_gaps, eager, MeasuredWay("kernel", rows, whole, without_gaps.attributed, sampled_last=True)]

    def measure_memory(self, subject: LiveModel, profile: Profile) -> PassMemory:
        return PassMemory((), None)

    def free_bytes(self) -> None:
        return None

    def synchronize(self) -> None:
        """Nothing runs on its own."""

    def release_cache(self) -> None:
        """Nothing is held."""

    def environment(self) -> Ran:
        return Ran(device="cuda", device_name=self.name, details={"gpu": self.name})


def rehearse() -> None:
    """From now on, what is asked for on the GPU runs here."""
    run.DEVICE_CLASSES["cuda"] = Rehearsed


if __name__ == "__main__":
    from archprof.__main__ import main

    rehearse()
    main()
