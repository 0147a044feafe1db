"""Memory on a GPU, from an allocator that is played: bytes are known."""

from __future__ import annotations

import fake_gpu
import torch
from builders import name_rows
from fake_gpu import FakeGpu, FakeSubject
from torch import nn

import archprof
from archprof.facts.measured import MeasuredMemory
from archprof.facts.overlays import Outside
from archprof.measuring.allocator_peaks import (
    AllocatorPeaks,
    PeakCounters,
    PeakMarker,
    build_memory,
    find_own_peaks,
)
from archprof.measuring.boundaries import ModuleMarking

BEFORE = 1000


class FakeAllocator:
    """Blocks of 512 bytes, in segments of 2048 that are kept."""

    def __init__(self) -> None:
        self.live = self.asked = BEFORE
        self.held = 2048
        self.reset()

    def take(self, nbytes: int) -> None:
        self.live += -(-nbytes // 512) * 512
        self.asked += nbytes
        self.held = max(self.held, -(-self.live // 2048) * 2048)
        self.peak = AllocatorPeaks(*map(max, self.peak, (self.live, self.held, self.asked)))

    def free(self, nbytes: int) -> None:
        self.live -= -(-nbytes // 512) * 512
        self.asked -= nbytes

    def reset(self) -> None:
        self.peak = AllocatorPeaks(self.live, self.held, self.asked)


MEMORY = FakeAllocator()


class Takes(nn.Module):
    """Takes a workspace that it gives back, and leaves a result."""

    def __init__(self, workspace: int, result: int) -> None:
        super().__init__()
        self.workspace, self.result = workspace, result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        MEMORY.take(self.workspace)
        MEMORY.take(self.result)
        MEMORY.free(self.workspace)
        return x + 1


def test_a_call_has_the_peak_of_its_own_work_and_of_calls_inside(monkeypatch):
    model = nn.Sequential(Takes(100, 1000), nn.Sequential(Takes(4000, 10), Takes(0, 512)))
    profile = archprof.profile(model, torch.zeros(2))
    memory = FakeAllocator()
    monkeypatch.setitem(globals(), "MEMORY", memory)
    monkeypatch.setattr(fake_gpu, "GPU", FakeGpu())
    clock = PeakMarker(PeakCounters(lambda: memory.peak, memory.reset))
    before = memory.peak
    marks = ModuleMarking(profile).run_with_marks(FakeSubject(model), clock)  # type: ignore[arg-type]
    result = build_memory(
        profile.layers, find_own_peaks(marks, clock.stretches), AllocatorPeaks(7168, 8192, 6010), before
    )
    names = name_rows(profile)
    # 0: 512 + 1024. 1.0: on the 1024 that 0 left, 4096 + 512. 1.1: 1024 + 512 that are left, and 512.
    rows = {names[row.key]: (row.allocated_peak, row.reserved_peak) for row in result.rows}
    assert rows == {
        ("", 0): (5632, 6144),
        ("0", 0): (1536, 2048),
        ("1", 0): (5632, 6144),
        ("1.0", 0): (5632, 6144),
        ("1.1", 0): (2048, 6144),  # segments are kept
    }
    assert result.whole == MeasuredMemory(Outside.WHOLE, 7168 - BEFORE, 8192 - 2048)
    assert "5,010 B had been asked for" in result.notes[0] or "5010 B had been asked for" in result.notes[0]
