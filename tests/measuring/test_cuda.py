"""Methods of a GPU, on a GPU that is played: every number is known."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fake_gpu
import pytest
import torch
from builders import name_rows
from fake_gpu import FakeGpu, FakeSubject, Kernels, Residual
from torch import nn

import archprof
from archprof.facts.overlays import Outside
from archprof.measuring import cuda, events, run
from archprof.measuring.boundaries import NO_OVERHEAD, ModuleMarking
from archprof.measuring.compiled import kernel_border
from archprof.measuring.compiled.kernel_shares import KernelMarking, KernelWork
from archprof.measuring.cuda import CudaDevice, GaplessSource, NoCuda, TorchGpu
from archprof.measuring.cuda_graph import GraphSource
from archprof.measuring.events import EventClock, make_event_way, measure_cost_in_place
from archprof.measuring.held_queue import HeldQueueSource
from archprof.measuring.passes import EagerSource, RowSampler, WholeSampler

US = 1000
"""Nanoseconds."""


def model() -> nn.Module:
    return nn.Sequential(Kernels(30 * US, 20 * US), Residual(7 * US, Kernels(100 * US)), Kernels())


TRUTH = {("0", 0): 50e-6, ("1", 0): 7e-6, ("1.inner", 0): 100e-6, ("2", 0): 0.0}
"""What the kernels of `model()` take."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    gpu = FakeGpu(launch_cost=5 * US, record=3 * US, event_cost=2 * US)
    monkeypatch.setattr(fake_gpu, "GPU", gpu)
    return gpu


@pytest.fixture
def subject(gpu: FakeGpu) -> FakeSubject:
    return FakeSubject(model())


@pytest.fixture
def rows(subject: FakeSubject) -> ModuleMarking:
    rows = ModuleMarking(archprof.profile(subject.model, torch.zeros(2)))
    subject.model(torch.zeros(2))
    fake_gpu.GPU.synchronize()
    return rows


def near(truth: dict, *, within: float = 1e-12) -> object:
    return pytest.approx(truth, abs=within)


def test_a_graph_times_kernels_alone(gpu, subject, rows):
    source = GraphSource(subject, rows, gpu)
    way = make_event_way("gpu", source, [])
    assert way.overhead == pytest.approx(2e-6, abs=1e-12)  # an event in the stream
    assert way.row_sampler is not None
    sample = way.row_sampler.sample()
    assert sample[Outside.BETWEEN_LAYERS] == pytest.approx(0.0, abs=1e-12)  # the Sequential has nothing of its own
    assert {row: sample[row] for row in TRUTH} == near(TRUTH)


def test_the_whole_of_a_graph_is_without_marks_and_without_its_launch(gpu, subject, rows):
    source = GraphSource(subject, rows, gpu)
    source.prepare()
    assert WholeSampler(source).sample() == near(
        {Outside.WHOLE: 157e-6 + 2e-6}
    )  # one of the two events lies between the moments


def test_a_graph_is_captured_once_and_replayed(gpu, subject, rows):
    source = GraphSource(subject, rows, gpu)
    make_event_way("gpu", source, [])
    source.prepare()
    assert gpu.captures == 2  # with marks and without
    before = gpu.host
    WholeSampler(source).sample()
    assert gpu.host - before == 5 * US + (157 + 2 + 2) * US  # one launch, and waiting for the work


def test_hooks_are_gone_after_every_pass(gpu, subject, rows):
    for source in (
        GraphSource(subject, rows, gpu),
        EagerSource(subject, rows, EventClock(gpu)),
        HeldQueueSource(subject, rows, gpu, [], gpu.now),
    ):
        source.prepare()
        source.run_marked()
        source.run_bare()
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in subject.model.modules())


def test_eager_passes_contain_the_gaps_of_launches(gpu, subject, rows):
    gpu.launch_cost = 200 * US  # longer than any kernel: the GPU waits for the host
    # The first event is over at 3 + 2; the last kernel starts when the host has launched it at 3 + 4 x 200, takes 7,
    # and the last event 2.
    assert EagerSource(subject, rows, EventClock(gpu)).run_bare() == pytest.approx((803 + 7 + 2 - 5) * 1e-6, abs=1e-12)


def test_eager_passes_of_a_busy_gpu_are_those_of_the_graph(gpu, subject, rows):
    gpu.launch_cost = gpu.record = 0  # the host is never waited for
    source = EagerSource(subject, rows, EventClock(gpu))
    sample = RowSampler(source, dict.fromkeys(NO_OVERHEAD, measure_cost_in_place(source))).sample()
    assert {row: sample[row] for row in TRUTH} == near(TRUTH)


def test_a_filled_queue_has_no_gaps(gpu, subject, rows):
    notes: list[str] = []
    source = HeldQueueSource(subject, rows, gpu, notes, gpu.now)
    source.prepare()
    sample = RowSampler(source, dict.fromkeys(NO_OVERHEAD, measure_cost_in_place(source))).sample()
    assert {row: sample[row] for row in TRUTH} == near(TRUTH)
    assert WholeSampler(source).sample() == near({Outside.WHOLE: 157e-6 + 2e-6})
    assert notes == []


def test_the_queue_is_held_for_twice_what_the_host_needs(gpu, subject, rows):
    source = HeldQueueSource(subject, rows, gpu, [], gpu.now)
    source.prepare()
    host = 4 * 5 + 10 * 3  # microseconds: four launches, and ten events at the borders
    # 1 cycle is 1 ns; between the events that calibrate, the launch and an event make the 20 ms 5 us longer.
    assert source.hold_cycles == pytest.approx((1000 + 2 * host) * US / (1 + 5 / 20_000), abs=1)


def test_a_host_that_is_too_slow_is_told_as_launch_bound(gpu, subject, rows):
    notes: list[str] = []
    source = HeldQueueSource(subject, rows, gpu, notes, gpu.now)
    source.prepare()
    gpu.launch_cost = 400 * US  # four launches are now longer than the sleep
    source.run_bare()
    gpu.launch_cost = 800 * US
    source.run_bare()
    [note] = notes
    assert note.startswith("launch-bound: the host needed up to 3.2 ms")


def test_what_cannot_be_captured_is_measured_with_a_filled_queue(gpu, subject, rows):
    gpu.refuses_capture = "called a synchronizing CUDA operation\nand more"
    source = GaplessSource(subject, rows, gpu)
    source.prepare()
    source.prepare()
    assert source.notes == [
        "Measured with a filled queue instead of a CUDA graph, which could not be captured: "
        "called a synchronizing CUDA operation"
    ]
    assert len(gpu.sleeps) == 2  # calibrated once
    assert source.run_bare() == pytest.approx(159e-6, abs=1e-12)


def test_the_first_error_says_why_there_is_no_graph(gpu, subject, rows, monkeypatch):
    def capture(run: Any, between: Any) -> None:
        try:
            raise RuntimeError("operation not permitted when stream is capturing")
        except RuntimeError:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904  as torch does

    monkeypatch.setattr(gpu, "capture", capture)
    source = GaplessSource(subject, rows, gpu)
    source.prepare()
    assert source.notes[0].endswith(": operation not permitted when stream is capturing")


def test_a_mark_costs_what_it_adds_to_this_pass(gpu, subject, rows):
    gpu.launch_cost = 200 * US
    # By hand, in microseconds. Without marks, as above: 807. With the 10 marks of the hooks the last kernel starts at
    # 6 x 3 + 4 x 200 and ends at 825, the four events behind it are over at 833, the first was at 5: 9 stretches take
    # 828, and 8 of their marks were not in the pass without.
    assert measure_cost_in_place(EagerSource(subject, rows, EventClock(gpu))) == pytest.approx(
        (828 - 807) / 8 * 1e-6, abs=1e-12
    )


def test_events_are_used_again(gpu):
    clock = EventClock(gpu)
    first = [clock.mark() for _ in range(5)]
    clock.settle()
    second = [clock.mark() for _ in range(3)]
    assert gpu.events == 5
    assert second == first[:3]


def test_events_can_be_read_until_the_next_pass(gpu):
    clock = EventClock(gpu)
    start = clock.mark()
    gpu.launch(40 * US)
    end = clock.mark()
    clock.settle()
    # over at 3 + 2; the kernel launched at 3 + 5, over at 48; over at 48 + 2
    assert clock.seconds(start, end) == pytest.approx(45e-6, abs=1e-12)


def test_the_ways_of_a_gpu(gpu, subject):
    profile = archprof.profile(subject.model, torch.zeros(2))
    ways = CudaDevice(gpu).make_ways(subject, profile)
    assert [way.method for way in ways] == ["gpu", "eager", "kernel"]
    assert [way.sampled_last for way in ways] == [False, False, True]
    assert ways[2].whole_sampler is ways[0].whole_sampler  # kernels are held against the pass without gaps
    assert ways[0].overhead == pytest.approx(2e-6, abs=1e-12)


def test_a_compiled_model_has_wholes_alone(gpu, subject):
    subject.compiled = True
    profile = archprof.profile(subject.model, torch.zeros(2))
    ways = CudaDevice(gpu).make_ways(subject, profile)
    assert [(way.method, way.row_sampler) for way in ways] == [("gpu", None), ("eager", None)]
    assert ways[0].whole_sampler.sample() == near({Outside.WHOLE: 159e-6})
    assert gpu.captures == 1
    assert all("compiled" in way.notes[0] for way in ways)


class Compiled:
    """Runs two compiled kernels: the first is of layer 0, the second of the residual and of what is inside."""

    pieces = (KernelWork("a", "forward", {("0", 0): 1}), KernelWork("b", "forward", {("1", 0): 5, ("1.inner", 0): 9}))

    def run_pass(self, begins: Any) -> None:
        begins("forward", None)
        for number, length in enumerate((50, 100)):
            kernel_border.kernel_begins(number)
            fake_gpu.GPU.launch(length * US)
        kernel_border.kernel_begins(kernel_border.GRAPH_END)
        begins("end", None)


def test_the_kernels_of_compiled_code_are_split_over_rows(gpu, subject, monkeypatch):
    """The sum of two tensors moves 24 bytes, the layer inside 16: 60 and 40 of the 100 us."""
    profile = archprof.profile(subject.model, torch.zeros(2))
    fused = KernelMarking(profile, Compiled.pieces, Compiled())
    monkeypatch.setattr(cuda, "choose_marking", lambda subject, profile: (fused, list(fused.notes)))
    monkeypatch.setattr(events, "measure_cost_in_place", lambda source: 2e-6)
    ways = CudaDevice(gpu).make_ways(subject, profile)
    assert [(way.method, way.attributed, way.sampled_last) for way in ways] == [
        ("gpu", True, False), ("eager", True, False), ("kernel", True, True),
    ]  # fmt: skip
    split = {("", 0): 0.0, ("0", 0): 50e-6, ("1", 0): 60e-6, ("1.inner", 0): 40e-6, ("2", 0): 0.0}
    assert ways[0].row_sampler.sample() == near(split)
    assert ways[2].row_sampler.marking is fused
    assert fused.charge_to_rows({0: 50e-6, 1: 100e-6}) == near(split)


def test_a_measurement_on_a_gpu_from_end_to_end(gpu, monkeypatch):
    monkeypatch.setitem(run.DEVICE_CLASSES, "cuda", fake_gpu.Played)
    profile = archprof.measure(model(), torch.zeros(2), device="cuda", rounds=3, seconds=0.5)
    profile.check()
    found = profile.measurement
    assert found is not None
    assert (found.ran.device_name, found.ran.details) == ("Played 9000", {"gpu": "Played 9000"})
    captured, eager = found.latencies  # there is no profiler of played GPUs, and so no number of kernels
    assert any("saw nothing" in note for note in found.notes)
    names = name_rows(profile)
    assert {names[row.key]: row.p50 for row in captured.layers if row.key} == near(TRUTH)
    assert captured.whole.p50 == pytest.approx(159e-6, abs=1e-12)
    assert len(captured.whole.rounds) == 3
    assert captured.overhead == pytest.approx(2e-6, abs=1e-12)
    assert sum(row.p50 for row in (*captured.layers, *captured.rest)) == pytest.approx(captured.whole.p50, abs=1e-12)
    assert eager.whole.p50 > captured.whole.p50  # four launches of 5 us, and the record


def test_a_training_step_has_its_backward(gpu, monkeypatch):
    """Marks stand at autograd's nodes, too; the graph holds them like all others."""
    monkeypatch.setitem(run.DEVICE_CLASSES, "cuda", fake_gpu.Played)
    net = nn.Sequential(nn.Linear(2, 2), Kernels(30 * US))
    profile = archprof.measure(net, torch.zeros(1, 2), device="cuda", rounds=3, seconds=0.5, train=True)
    profile.check()
    assert profile.measurement is not None
    captured = profile.measurement.latencies[0]
    names = name_rows(profile)
    assert {names[row.key][0]: row.p50 for row in captured.layers if row.key} == near({"0": 0.0, "1": 30e-6})
    assert {Outside.OPTIMIZER_STEP, Outside.OUTSIDE_MODULES} <= {row.key for row in captured.rest}


def test_without_cuda_the_error_names_what_was_found(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(NoCuda, match="is built without CUDA") as error:
        CudaDevice()
    assert "--measure cpu" in error.value.hint
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    ("said", "visible", "found"),
    [
        (
            "Found no NVIDIA driver on your system. Please check",
            None,
            "but says: Found no NVIDIA driver on your system.",
        ),
        ("No CUDA GPUs are available", "", "but says: No CUDA GPUs are available (CUDA_VISIBLE_DEVICES is '')."),
    ],
)
def test_without_a_device_the_error_says_what_torch_says(monkeypatch, said, visible, found):
    def init() -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(NoCuda) as error:
        cuda.require_cuda()
    assert error.value.given.endswith(f"is built for CUDA 13.0, {found}")


def test_importing_touches_no_gpu():
    code = (
        "import torch; torch.cuda.is_available = torch.cuda.init = torch._C._cuda_init = None\n"
        "import archprof.measuring.cuda, archprof.measuring.calibrate\n"
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_full_memory_is_told_from_other_errors(gpu, error, full):
    assert CudaDevice(gpu).is_out_of_memory(error) is full


class FakeTorchCuda:
    """The parts of `torch.cuda` that a capture uses; writes down what happens in which stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.streams, self.mode, self.fails = ["the user's"], 0, False
        for name in ("current_stream", "stream", "graph", "get_sync_debug_mode", "set_sync_debug_mode"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "Stream", lambda: FakeStream("side", self.log))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "graph")
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")

    def current_stream(self) -> FakeStream:
        return FakeStream(self.streams[-1], self.log)

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before = list(self.streams)
        self.streams.append(stream.name)
        try:
            yield
        finally:
            self.streams[:] = before

    @contextmanager
    def graph(self, graph: str, *, pool: str, stream: FakeStream) -> Iterator[None]:
        assert (graph, pool) == ("graph", "pool")
        self.streams.append(stream.name)
        self.log.append("begin")
        yield
        if self.fails:
            raise RuntimeError("operation failed due to a previous error during capture")  # and leaves its stream set
        self.streams.pop()
        self.log.append("end")

    def get_sync_debug_mode(self) -> int:
        return self.mode

    def set_sync_debug_mode(self, mode: int | str) -> None:
        self.mode = {"default": 0, "warn": 1, "error": 2}.get(mode, mode)  # type: ignore[arg-type, assignment]

    def run(self) -> None:
        self.log.append(f"run in {self.streams[-1]}" + (", strictly" if self.mode == 2 else ""))


class FakeStream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: FakeStream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


def test_a_capture_warms_up_looks_for_waiting_and_captures_in_a_side_stream(monkeypatch):
    fake = FakeTorchCuda(monkeypatch)
    fake.mode = 1  # the user's
    assert TorchGpu().capture(fake.run, lambda: fake.log.append("settle")) == "graph"
    assert fake.log == [
        "side waits for the user's",
        *["run in side", "settle"] * 3,
        *["run in side, strictly", "settle"],
        *["begin", "run in side", "end"],
        "the user's waits for side",
    ]
    assert (fake.streams, fake.mode) == (["the user's"], 1)


@pytest.mark.parametrize("where", ["looking", "capturing"])
def test_a_capture_that_fails_leaves_the_users_stream_and_mode(monkeypatch, where):
    fake = FakeTorchCuda(monkeypatch)
    fake.fails = where == "capturing"

    def run() -> None:
        if fake.mode == 2 and where == "looking":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError):
        TorchGpu().capture(run, lambda: None)
    assert (fake.streams, fake.mode) == (["the user's"], 0)


def test_ways_hold_no_cycle_that_keeps_the_memory_of_a_model(gpu, subject):
    """A sweep measures the next batch at once: what the last one took must be gone by then."""
    profile = archprof.profile(subject.model, torch.zeros(2))
    ways = CudaDevice(gpu).make_ways(subject, profile)
    ways[0].row_sampler.sample()
    gc.collect()
    gc.disable()
    try:
        held = [weakref.ref(way.row_sampler) for way in ways]
        del ways
        assert [reference() for reference in held] == [None] * 3
    finally:
        gc.enable()
