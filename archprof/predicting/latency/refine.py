"""What saved measurements on a device teach of it: by how much the model is off there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from archprof.facts.measured import Measurement
from archprof.facts.records import Profile
from archprof.predicting import devices
from archprof.predicting.devices import Device
from archprof.predicting.latency.kernels import Setting

Timer = Callable[[Profile, Device, Setting, bool, bool], float]
"""Seconds that are predicted of a profile: by device, setting, eager or captured, compiled or not."""

OWN_WEIGHT = 1.0
"""The model's own word counts as much as one measurement."""


class Correction(NamedTuple):
    """What to multiply all times with, and of how many measurements that comes."""

    factor: float
    measurements: int


def find_correction(measured: Sequence[Profile], device: Device, predict: Timer) -> Correction | None:
    """The middle of measured over predicted, drawn to 1; `None` where nothing was measured on this device."""
    ratios = [ratio for profile in measured if (ratio := _compare(profile, device, predict)) is not None]
    if not ratios:
        return None
    return Correction(math.exp(math.fsum(map(math.log, ratios)) / (len(ratios) + OWN_WEIGHT)), len(ratios))


def _compare(profile: Profile, device: Device, predict: Timer) -> float | None:
    """Measured over predicted seconds of a whole pass."""
    measurement = profile.measurement
    if measurement is None or measurement.latency is None or not _is_of(measurement, device):
        return None
    ran, latency = measurement.ran, measurement.latency
    setting = Setting((bool(ran.tf32_matmul), bool(ran.tf32_cudnn)))
    predicted = predict(profile, device, setting, latency.method in ("eager", "cpu"), bool(ran.compiled))
    return latency.whole.p50 / predicted if predicted > 0 and latency.whole.p50 > 0 else None


def _is_of(measurement: Measurement, device: Device) -> bool:
    ran = measurement.ran
    known = devices.find_device(ran.device_name) if ran.device_name else None
    return ran.device != "meta" and (
        ran.device_name == device.name or (known is not None and known.name == device.name)
    )
