"""The CPU: a wall clock, since its work is done when a call returns, and an allocator that a profiler watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from archprof.facts.records import Profile, Ran
from archprof.measuring import allocations, host_state
from archprof.measuring.compiled.inductor import choose_marking
from archprof.measuring.compiled.kernel_shares import measure_border_cost
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource, RowSampler, WholeSampler, measure_mark_cost
from archprof.measuring.protocols import MeasuredWay, PassMemory
from archprof.torchside.free_memory import read_free_bytes


class WallClock:
    """Nanoseconds of the system's best clock."""

    def mark(self) -> int:
        return time.perf_counter_ns()

    def settle(self) -> None:
        """On the CPU, what was called is done."""

    def seconds(self, start: int, end: int) -> float:
        return (end - start) * 1e-9


class CpuDevice:
    """The processor that torch runs on."""

    kind = "cpu"
    raises_when_full = False

    @property
    def name(self) -> str:
        return host_state.find_processor_name()

    def clock(self) -> WallClock:
        return WallClock()

    def synchronize(self) -> None:
        """On the CPU, what was called is done."""

    @contextmanager
    def hold_settings(self) -> Iterator[None]:
        """The number of threads stays what the user set, whatever the model does to it."""
        threads = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def make_ways(self, subject: LiveModel, profile: Profile) -> list[MeasuredWay]:
        clock = self.clock()
        rows, notes = choose_marking(subject, profile)
        source = EagerSource(subject, rows, clock)
        whole = WholeSampler(source)
        if rows is None:
            return [MeasuredWay("cpu", None, whole, notes=notes)]
        overhead = measure_border_cost(clock) if rows.attributed else measure_mark_cost(clock, train=subject.train)
        marked = RowSampler(source, overhead)
        return [MeasuredWay("cpu", marked, whole, rows.attributed, overhead=overhead["call"], notes=notes)]

    def measure_memory(self, subject: LiveModel, profile: Profile) -> PassMemory:
        if subject.compiled:
            return PassMemory((), None, ("The memory of a compiled model is not measured.",))
        return allocations.measure_allocations(subject, profile)

    def free_bytes(self) -> int | None:
        return read_free_bytes()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)

    def release_cache(self) -> None:
        """The CPU's allocator keeps nothing."""

    def environment(self) -> Ran:
        """Threads, instruction set, libraries and the load of other programs."""
        quota, load = host_state.read_quota(), host_state.read_load()
        known = {
            "processor": self.name,
            "interop threads": str(torch.get_num_interop_threads()),
            "quota": f"{quota:g} processors" if quota is not None else None,
            "governor": host_state.read_governor(),
            "load": f"{load:.2f} in the last minute" if load is not None else None,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "oneDNN": "on" if torch.backends.mkldnn.enabled else "off",
            "float32 products": torch.get_float32_matmul_precision(),
            "deterministic": "on" if torch.are_deterministic_algorithms_enabled() else "off",
            "autocast": "on" if torch.is_autocast_enabled("cpu") else "off",
        }
        return Ran(
            self.kind,
            self.name,
            threads=torch.get_num_threads(),
            processors=host_state.count_cpus(),
            versions={"torch": str(torch.__version__)},
            details={name: words for name, words in known.items() if words is not None},
        )
