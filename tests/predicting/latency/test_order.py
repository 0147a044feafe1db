"""What must hold of predicted times whatever the constants are: more work takes no less, a better device no longer."""

from __future__ import annotations

from functools import cache

import pytest

import archprof
from archprof.facts.records import Profile
from archprof.predicting.devices import Device, resolve_device
from archprof.predicting.latency import predict_latency

DEVICES = ("t4", "1080ti", "4090", "h100 sxm5", "mi300x", "m2 max", "epyc 9654")
BATCHES = (1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 32, 33, 64, 65)
RATES = ("fp32", "tf32_dense", "fp16_dense", "bf16_dense", "mem_bw", "l2_mb", "sm", "boost_mhz", "tdp_w")


@cache
def trace(model: str, batch: int, amp: str | None = None, train: bool = False) -> Profile:
    optimizer = "sgd(momentum=0.9)" if train else None
    return archprof.profile(model, batch=batch, amp=amp, train=train, optimizer=optimizer)


@pytest.mark.parametrize("model", ["alexnet", "resnet18", "lenet5"])
@pytest.mark.parametrize("amp", [None, "float16"])
def test_a_larger_batch_never_takes_less(model: str, amp: str | None) -> None:
    profiles = [trace(model, batch, amp) for batch in BATCHES]
    for device in map(resolve_device, DEVICES):
        for options in ({}, {"eager": False}, {"channels_last": True}, {"compiled": True}):
            times = [predict_latency(profile, device, **options).whole.p50 for profile in profiles]  # type: ignore[arg-type]
            assert times == sorted(times), (device.name, options)


def test_a_larger_batch_never_trains_faster() -> None:
    profiles = [trace("resnet18", batch, "float16", train=True) for batch in (1, 2, 4, 8, 16, 32)]
    for device in map(resolve_device, DEVICES):
        for last in (False, True):
            times = [predict_latency(profile, device, channels_last=last).whole.p50 for profile in profiles]
            assert times == sorted(times), (device.name, last)


def scale(device: Device, factor: float) -> Device:
    """The device with every figure so many times as large."""
    figures = {
        name: figure._replace(value=figure.value * factor) if name in RATES else figure
        for name, figure in device.figures.items()
    }
    return device._replace(figures=figures)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("factor", [1.02, 1.3, 2.0])
def test_a_device_that_is_better_in_every_figure_never_takes_longer(device: str, factor: float) -> None:
    known = resolve_device(device)
    for profile in (trace("resnet18", 1), trace("resnet18", 64), trace("resnet18", 32, "float16", train=True)):
        for eager in (True, False):
            slow, fast = (predict_latency(profile, one, eager=eager) for one in (known, scale(known, factor)))
            assert fast.whole.p50 <= slow.whole.p50 * (1 + 1e-9)
            assert fast.roofline_seconds <= slow.roofline_seconds


@pytest.mark.parametrize("device", DEVICES)
def test_the_middle_lies_inside_every_interval_and_rows_sum_to_the_whole(device: str) -> None:
    for profile in (trace("resnet18", 8), trace("resnet18", 32, "float16", train=True)):
        for options in ({}, {"eager": False}, {"compiled": True}, {"channels_last": True}):
            found = predict_latency(profile, resolve_device(device), **options)  # type: ignore[arg-type]
            rows = (*found.layers, *found.rest)
            assert sum(row.seconds.p50 for row in rows) == pytest.approx(found.whole.p50)
            for low, middle, high in ((s.low, s.p50, s.high) for s in (found.whole, *(row.seconds for row in rows))):
                assert low <= middle <= high


def test_a_graph_takes_no_longer_than_its_ops_one_by_one() -> None:
    for model, batch in (("resnet18", 1), ("resnet18", 64), ("alexnet", 8)):
        for device in map(resolve_device, DEVICES):
            eager, captured = (predict_latency(trace(model, batch), device, eager=one) for one in (True, False))
            assert captured.whole.p50 <= eager.whole.p50
            assert eager.whole.p50 >= max(eager.host_seconds, captured.whole.p50) * (1 - 1e-9)
