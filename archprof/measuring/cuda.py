"""NVIDIA GPUs, through torch: the one place where measuring touches `torch.cuda`."""

from __future__ import annotations

import dataclasses
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from archprof.errors import ArchprofError
from archprof.facts.records import Profile, Ran
from archprof.measuring import gpu_state
from archprof.measuring.allocator_peaks import (
    AllocatorPeaks,
    PeakCounters,
    PeakMarker,
    build_memory,
    find_own_peaks,
)
from archprof.measuring.boundaries import Mark, Marking, ModuleMarking
from archprof.measuring.compiled.inductor import choose_marking
from archprof.measuring.cuda_graph import GraphSource
from archprof.measuring.events import Event, EventClock, Gpu, Replay, make_event_way
from archprof.measuring.held_queue import HeldQueueSource
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource, PassSource
from archprof.measuring.profiled.profiler import ProfiledSampler
from archprof.measuring.protocols import Clock, MeasuredWay, PassMemory
from archprof.torchside.private import keep_gpu_busy

CAPTURE_WARM_UPS = 3
"""Passes before a capture: kernels are chosen and loaded, and events made, in the first."""

NOT_CAPTURED_NOTE = "Measured with a filled queue instead of a CUDA graph, which could not be captured: {reason}"

OUT_OF_MEMORY_WORDS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUFFT_ALLOC_FAILED")
"""In the words of torch and of NVIDIA's libraries."""


class NoCuda(ArchprofError):
    """A GPU was asked for where torch has none."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"There is no GPU to measure on: {found}",
            "Measuring on a GPU needs an NVIDIA GPU, its driver, and a torch built for CUDA.",
            "Try --measure cpu (for calibrate: --cpu), which measures on this machine's processor.",
        )


def require_cuda() -> None:
    """Raise `NoCuda`, naming what was found, unless torch can use a GPU."""
    if not torch.cuda.is_available():
        raise NoCuda(_describe_found())


def _describe_found() -> str:
    """What is here instead of a GPU that works."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA."
    platform = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    built = f"torch {torch.__version__} is built for {platform}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        return f"{built}, but says: {reason}{hidden}."
    return f"{built}, but sees no device{hidden}."


class TorchGpu:
    """The GPU that torch uses at the moment, as `Gpu`.

    Both graphs of a pass share one pool of memory: they never run at the same time, and nobody reads what they make.
    """

    def __init__(self) -> None:
        self._pool: Any = None

    def event(self) -> Event:
        return torch.cuda.Event(enable_timing=True, external=True)  # type: ignore[no-untyped-call]

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def sleep(self, cycles: int) -> None:
        keep_gpu_busy(cycles)

    def capture(self, run: Callable[[], Any], between: Callable[[], None]) -> Replay:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # puts the user's stream back, also where a capture that failed does not
            for _ in range(CAPTURE_WARM_UPS):
                run()
                between()
            # A capture that fails in its middle leaves torch's random generators unusable, so look before.
            with _waiting_is_an_error():
                run()
            between()
            with torch.cuda.graph(graph, pool=self._pool, stream=side):
                run()
        torch.cuda.current_stream().wait_stream(side)
        return graph


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    """Torch raises when the host waits for the GPU, as `.item()` does: that cannot be captured."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this mode does not see every wait
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


class GaplessSource:
    """A graph, or a filled queue where it cannot be captured; a note says why."""

    def __init__(self, subject: LiveModel, rows: Marking | None, gpu: Gpu) -> None:
        self.marking, self.notes = rows, list[str]()
        self._source: PassSource = GraphSource(subject, rows, gpu)
        self._held_queue = HeldQueueSource(subject, rows, gpu, self.notes)

    @property
    def clock(self) -> Clock:
        return self._source.clock

    def prepare(self) -> None:
        if self._source is self._held_queue:
            return
        reason = self._why_not_prepared()
        if reason:  # the error is gone by now, and with it the tensors of the pass that it held
            self._source = self._held_queue
            self.notes.append(NOT_CAPTURED_NOTE.format(reason=reason))
            self._held_queue.prepare()

    def _why_not_prepared(self) -> str:
        """Why the graph cannot be had, in the first words of the first error; "" where it can."""
        try:
            self._source.prepare()
        except Exception as error:  # of many kinds: waiting, memory, an operation that a stream in capture refuses
            first: BaseException = error
            while first.__context__ is not None:  # the end of a capture that failed raises once more
                first = first.__context__
            return (str(first).splitlines() or [type(first).__name__])[0]
        return ""

    def run_marked(self) -> Sequence[Mark]:
        return self._source.run_marked()

    def run_bare(self) -> float:
        return self._source.run_bare()


class CudaDevice:
    """The GPU that torch uses at the moment. Raises `NoCuda` where there is none."""

    kind = "cuda"
    raises_when_full = True

    def __init__(self, gpu: Gpu | None = None) -> None:
        if gpu is None:
            require_cuda()
        self.gpu = gpu or TorchGpu()

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name()

    def clock(self) -> EventClock:
        return EventClock(self.gpu)

    def synchronize(self) -> None:
        self.gpu.synchronize()

    def hold_settings(self) -> AbstractContextManager[None]:
        """Nothing is fixed on a GPU: it is measured as the user has set it."""
        return nullcontext()

    def make_ways(self, subject: LiveModel, profile: Profile) -> list[MeasuredWay]:
        """Without gaps, as users run it, and kernels alone; the wholes alone where passes cannot be marked."""
        rows, doubts = choose_marking(subject, profile)
        source = GaplessSource(subject, rows, self.gpu)
        source.notes += doubts
        without_gaps = make_event_way("gpu", source, source.notes)
        eager = make_event_way("eager", EagerSource(subject, rows, self.clock()), doubts)
        if rows is None:
            return [without_gaps, eager]
        profiled = ProfiledSampler(subject, rows, self.synchronize)
        whole, kernels, notes = without_gaps.whole_sampler, profiled.kernels, profiled.notes
        return [
            without_gaps,
            eager,
            MeasuredWay("kernel", profiled, whole, rows.attributed, sampled_last=True, kernels=kernels, notes=notes),
        ]

    def measure_memory(self, subject: LiveModel, profile: Profile) -> PassMemory:
        """From one pass without marks, and one whose peaks are read at every border."""
        self._clear_last_pass(subject)  # workspaces of libraries are there by now
        before = _read_peaks()
        subject.run_pass()
        whole = _read_peaks()
        if subject.compiled:
            return build_memory((), {}, whole, before)
        self._clear_last_pass(subject)
        clock = PeakMarker(PeakCounters(_read_peaks, torch.cuda.reset_peak_memory_stats))
        marks = ModuleMarking(profile).run_with_marks(subject, clock)
        return build_memory(profile.layers, find_own_peaks(marks, clock.stretches), whole, before)

    def _clear_last_pass(self, subject: LiveModel) -> None:
        """Nothing is left of the last pass, and the peaks are what is held now."""
        subject.drop_gradients()
        self.release_cache()
        torch.cuda.reset_peak_memory_stats()

    def free_bytes(self) -> int | None:
        """What the driver has, and what torch holds without using it."""
        free: int = torch.cuda.mem_get_info()[0]
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_WORDS)
        )

    def release_cache(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()

    def environment(self) -> Ran:
        torch_ran = gpu_state.describe_torch()
        details = {**torch_ran.details, **gpu_state.describe_gpu(torch.cuda.current_device())}
        return dataclasses.replace(torch_ran, device=self.kind, device_name=self.name, details=details)


def _read_peaks() -> AllocatorPeaks:
    stats = torch.cuda.memory_stats()
    return AllocatorPeaks(*(stats.get(f"{kind}_bytes.all.peak", 0) for kind in AllocatorPeaks._fields))
