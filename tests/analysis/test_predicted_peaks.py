"""Predicted peaks beside measured ones: on the CPU against torch's own profiler, on a GPU by its allocator."""

from __future__ import annotations

import dataclasses

import pytest
from torch import nn

import archprof
from archprof.analysis.predicted_peaks import collect_whole_peaks, predict_call_peaks
from archprof.facts.overlays import Outside
from archprof.facts.ran import Ran

KIB = 1024


def measure(model: nn.Module, shape: tuple[int, ...], **options: object) -> archprof.Profile:
    return archprof.measure(model, shape, rounds=1, seconds=0.1, **options)


def test_on_the_cpu_they_are_what_the_profiler_saw() -> None:
    """Without convolutions, whose kernels lay their weights out anew, nothing else is allocated."""
    net = nn.Sequential(nn.Linear(64, 256), nn.Sequential(nn.GELU(), nn.Linear(256, 64)), nn.ReLU())
    profile = measure(net, (128, 64))
    assert profile.measurement is not None
    predicted = predict_call_peaks(profile)
    assert {one.key: one.allocated_peak for one in profile.measurement.memory} == {
        key: peak for key, peak in predicted.items() if key is not Outside.WHOLE
    }
    whole = collect_whole_peaks(profile)
    assert (whole["peak_predicted"], whole["peak_off"]) == (4 * 128 * (2 * 256 + 64), 0.0)


def test_a_step_by_the_profiler() -> None:
    """The first gradient is a tensor in a trace, and one number in what is measured, whose loss is the sum."""
    net = nn.Sequential(*[nn.Sequential(nn.Linear(256, 256, bias=False), nn.ReLU()) for _ in range(3)])
    whole = collect_whole_peaks(measure(net, (256, 256), train=True))
    measured, predicted = whole["peak_measured"], whole["peak_predicted"]
    assert measured is not None
    assert predicted is not None
    assert predicted - measured == pytest.approx(4 * 256 * 256, abs=64)


def test_on_a_gpu_they_are_the_allocators() -> None:
    """Blocks are whole multiples of 512 bytes there, and what cuBLAS keeps is there before the pass."""
    profile = measure(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3)), (2, 3))
    assert profile.measurement is not None
    live = collect_whole_peaks(profile)["peak_predicted"]
    assert live == 2 * 5 * 4 + 2 * 3 * 4
    on_gpu = dataclasses.replace(profile.measurement, ran=Ran("cuda", device_name="NVIDIA H200"))
    played = dataclasses.replace(profile, overlays=(on_gpu,))
    assert collect_whole_peaks(played)["peak_predicted"] == 2 * 512
