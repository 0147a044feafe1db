"""The CPU's own part: real time, real allocations, and what the system says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders import make_profile, name_rows
from torch import nn

import archprof
from archprof.facts.measured import MeasuredMemory, Measurement
from archprof.facts.overlays import Outside
from archprof.facts.records import Layer, Profile
from archprof.facts.request import PassRequest
from archprof.measuring import host_state
from archprof.measuring.allocations import MEMORY_BUSY_NOTE, compute_inclusive_peaks, find_highest_allocated
from archprof.measuring.boundaries import Mark
from archprof.measuring.cpu import CpuDevice, WallClock
from archprof.measuring.live_model import LiveModel
from archprof.sources.resolve import resolve
from archprof.torchside.free_memory import read_free_bytes
from archprof.tracing.trace import trace

KIB = 1024


class Grow(nn.Module):
    """Allocates so many KiB and gives them back, then returns as much as it was given."""

    def __init__(self, kib: int) -> None:
        super().__init__()
        self.kib = kib

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        torch.empty(self.kib * KIB // 4)
        return tensor.neg()


class Outer(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        held = torch.empty(KIB * KIB // 4)
        out: torch.Tensor = self.inner(tensor)
        del held
        return out


def measured(model: nn.Module, shape: tuple[int, ...], **options: bool) -> tuple[Profile, Measurement]:
    profile = archprof.measure(model, shape, seconds=0.05, rounds=2, **options)
    profile.check()
    assert profile.measurement is not None
    return profile, profile.measurement


def test_peaks_are_what_the_layers_allocate() -> None:
    # The input has 16 KiB and is there before; each layer returns 16 KiB.
    profile, measurement = measured(nn.Sequential(Grow(64), Outer(Grow(32), nn.Identity()), Grow(8)), (KIB, 4))
    names = name_rows(profile)
    found = {names[row.key][0]: row.allocated_peak for row in measurement.memory}
    assert found == {
        "": (16 + 1024 + 32) * KIB,
        "0": 64 * KIB,
        "1": (16 + 1024 + 32) * KIB,
        "1.inner": (16 + 1024 + 32) * KIB,
        "1.inner.0": (16 + 1024 + 32) * KIB,
        "1.inner.1": (16 + 1024 + 16) * KIB,  # the caller still holds what 0 returned
        "2": (16 + 16) * KIB,
    }
    assert measurement.memory_whole == MeasuredMemory(Outside.WHOLE, (16 + 1024 + 32) * KIB)


def test_a_step_holds_activations_and_gradients() -> None:
    width = 256
    model = nn.Sequential(*(nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU()) for _ in range(3)))
    profile, measurement = measured(model, (width, width), train=True)
    matrix = 4 * width * width
    assert measurement.memory_whole is not None
    # Kept for the way back: six activations (ReLU keeps its result). On the way back the gradients of the activations
    # come and go, those of the three weights stay.
    assert 6 * matrix < measurement.memory_whole.allocated_peak <= 9 * matrix
    names = name_rows(profile)
    by_path = {names[row.key][0]: row.allocated_peak for row in measurement.memory}
    assert by_path["0.0"] >= 3 * matrix  # at its end all three gradients are there


def test_counted_and_measured_memory_agree() -> None:
    _, measurement = measured(resolve("resnet18").model, (2, 3, 224, 224))
    assert measurement.memory_whole is not None
    # The widest place: what the first convolution made, and what its normalization makes of it.
    assert measurement.memory_whole.allocated_peak == pytest.approx(2 * (2 * 64 * 112 * 112 * 4), rel=0.001)


def test_peaks_of_marks_and_changes_on_paper() -> None:
    marks = [Mark(("", 0), "stage", 1), Mark(("a", 0), "call", 2), Mark(("", 0), "call", 3), Mark(None, "stage", 4)]
    assert find_highest_allocated(marks, {1: [10], 2: [5, -5, 7], 4: [-12]}) == {("", 0): 17, ("a", 0): 17, None: 17}
    rows = (Layer("", "Net", 0, 0), Layer("a", "A", 1, 0), Layer("a.b", "B", 2, 0), Layer("c", "C", 1, None))
    layers = make_profile("net", (), 1, "forward", "float32", rows, (), (), ()).layers
    own = {("", 0): 3, ("a.b", 0): 9}
    assert compute_inclusive_peaks(layers, own) == [MeasuredMemory(call, 9) for call in range(3)]


def test_memory_is_left_alone_while_the_user_profiles() -> None:
    with torch.autograd.profiler.profile(use_kineto=False):
        _, measurement = measured(nn.Linear(3, 3), (2, 3))
    assert (measurement.memory, measurement.memory_whole) == ((), None)
    assert MEMORY_BUSY_NOTE in measurement.notes


def test_threads_are_held_and_put_back() -> None:
    class Meddles(nn.Module):
        def forward(self, tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_meta:
                torch.set_num_threads(2)
            return tensor * 2

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _, measurement = measured(Meddles(), (2, 3))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert measurement.ran.threads == 2  # what the model set, with which it ran


class Busy(nn.Module):
    """Is busy for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return tensor.neg()


def test_a_layer_takes_as_long_as_it_is_busy() -> None:
    target = resolve(nn.Sequential(Busy(0.0005), Busy(0.002)), (2, 3))
    profile, subject = trace(target), LiveModel(target, PassRequest(dtype="float32"))
    (way,) = CpuDevice().make_ways(subject, profile)
    assert way.row_sampler is not None
    assert way.overhead is not None
    assert 0 < way.overhead < 50e-6
    samples = [
        way.row_sampler.sample() for _ in range(100)
    ]  # the fastest counts: other programs run on this machine, too
    assert min(sample[("0", 0)] for sample in samples) == pytest.approx(0.0005, rel=0.05)
    assert min(sample[("1", 0)] for sample in samples) == pytest.approx(0.002, rel=0.02)
    assert min(way.whole_sampler.sample()[Outside.WHOLE] for _ in range(100)) == pytest.approx(0.0025, rel=0.04)


@pytest.mark.parametrize(("dtype", "channels_last"), [("bfloat16", False), ("float32", True), ("float64", True)])
def test_dtypes_and_channels_last_reach_the_pass(dtype: str, channels_last: bool) -> None:
    seen = []

    class Sees(nn.Conv2d):
        def forward(self, tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_meta:
                last = tensor.is_contiguous(memory_format=torch.channels_last)
                seen.append((tensor.dtype, self.weight.dtype, last))
            return super().forward(tensor)

    archprof.measure(Sees(3, 4, 3), "3x8x8", batch=2, dtype=dtype, channels_last=channels_last, seconds=0.05, rounds=1)
    kind = getattr(torch, dtype)
    assert set(seen) == {(kind, kind, channels_last)}


def test_random_inputs_are_neither_zeros_nor_ones() -> None:
    seen: list[torch.Tensor] = []

    class Sees(nn.Module):
        def forward(self, tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_meta:
                seen.append(tensor)
            return tensor * 2

    archprof.measure(Sees(), "3x32x32", batch=4, seconds=0.05, rounds=1)
    assert seen[0].shape == (4, 3, 32, 32)
    assert seen[0].std() == pytest.approx(1.0, abs=0.05)
    assert all(tensor is seen[0] for tensor in seen)


def test_a_compiled_model_is_timed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def compile(model: nn.Module) -> Callable[..., torch.Tensor]:
        compiled.append(model)
        return model.forward

    monkeypatch.setattr(torch, "compile", compile)  # the real one takes a C++ compiler and a minute
    _, measurement = measured(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (2, 3), compile=True)
    assert len(compiled) == 1
    latency = measurement.latency
    assert latency is not None
    assert (latency.layers, latency.rest, measurement.memory) == ((), (), ())
    assert latency.whole.p50 > 0
    assert "no layer has a latency" in latency.notes[0]


def test_a_fused_encoder_is_named() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert any("fused op" in note for note in measured(layer, (2, 5, 8))[1].notes)
    assert not any("fused op" in note for note in measured(layer, (2, 5, 8), train=True)[1].notes)


def test_a_model_without_anything_to_train() -> None:
    with pytest.raises(archprof.ArchprofError, match="no training step to measure"):
        archprof.measure(nn.ReLU(), (2, 3), train=True)


def test_every_row_of_a_real_model_is_accounted_for() -> None:
    profile, measurement = measured(resolve("resnet18").model, (1, 3, 64, 64))
    called = list(range(len(profile.calls)))
    assert measurement.latency is not None
    assert [row.key for row in measurement.latency.layers] == called
    assert [row.key for row in measurement.memory] == called


def test_the_wall_clock_counts_seconds() -> None:
    clock = WallClock()
    assert clock.seconds(1_000_000_000, 3_500_000_000) == 2.5


def test_what_the_cpu_says_when_memory_is_full() -> None:
    cpu = CpuDevice()
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**60, dtype=torch.uint8)
    assert cpu.is_out_of_memory(full.value)
    assert cpu.is_out_of_memory(MemoryError())
    assert not cpu.is_out_of_memory(RuntimeError("shapes do not match"))


def machine(root: Path, **files: str) -> Path:
    places = {
        "cpuinfo": "proc/cpuinfo", "meminfo": "proc/meminfo", "quota": "sys/fs/cgroup/cpu.max",
        "limit": "sys/fs/cgroup/memory.max", "used": "sys/fs/cgroup/memory.current",
        "limits": "proc/self/limits", "status": "proc/self/status",
        "old_quota": "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "old_period": "sys/fs/cgroup/cpu/cpu.cfs_period_us",
        "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    }  # fmt: skip
    for name, text in files.items():
        path = root / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_what_the_system_says(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert (host_state.read_quota(nothing), host_state.read_governor(nothing), read_free_bytes(nothing)) == (
        None,
        None,
        None,
    )
    assert host_state.find_processor_name(nothing)
    root = machine(
        tmp_path, cpuinfo="processor : 0\nmodel name\t: Some CPU @ 2 GHz\n", quota="150000 100000\n",
        meminfo="MemTotal: 9 kB\nMemAvailable:    2048 kB\n", limit="max\n", used="7\n", governor="powersave\n",
    )  # fmt: skip
    assert host_state.find_processor_name(root) == "Some CPU @ 2 GHz"
    assert (host_state.read_quota(root), host_state.read_governor(root), read_free_bytes(root)) == (
        1.5,
        "powersave",
        2048 * KIB,
    )
    machine(tmp_path, limit="1000\n", quota="max 100000\n")
    assert (host_state.read_quota(root), read_free_bytes(root)) == (None, 993)
    machine(
        tmp_path, limit="1048576\n", status="VmPeak:\t 9 kB\nVmSize:\t     600 kB\nVmData:\t     100 kB\n",
        limits="Limit        Soft Limit  Hard Limit  Units\n"
        "Max address space         1048576              unlimited            bytes     \n"
        "Max data size             unlimited            unlimited            bytes     \n",
    )  # fmt: skip
    assert read_free_bytes(root) == 424 * KIB
    machine(tmp_path, status="VmSize:\t     600 kB\nVmData:\t     100 kB\n", limits="Max data size  204800  1 bytes\n")
    assert read_free_bytes(root) == 100 * KIB
    old = machine(tmp_path / "old", old_quota="50000\n", old_period="100000\n")
    assert host_state.read_quota(old) == 0.5
    assert host_state.read_quota(machine(tmp_path / "old", old_quota="-1\n")) is None
