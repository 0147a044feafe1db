"""The roofline: how fast each layer ran against how fast the device could.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures"
(Communications of the ACM, 2009): at most min(peak FLOP/s, intensity x bandwidth).
"""

from __future__ import annotations

from typing import NamedTuple

from archprof import units
from archprof.errors import UsageError
from archprof.facts.ran import Ran
from archprof.facts.records import Profile
from archprof.predicting import devices
from archprof.predicting.devices import Device, Figure


class Roof(NamedTuple):
    """The most a device can do in one dtype ("tf32" for float32 that may become that): FLOP/s and B/s."""

    device: str
    dtype: str
    peak: Figure
    bandwidth: Figure

    @property
    def ridge(self) -> float:
        """FLOPs for each byte from which on the arithmetic is the limit."""
        return self.peak.value / self.bandwidth.value

    def reachable_rate(self, intensity: float) -> float:
        """FLOP/s that can be reached at this intensity."""
        return min(self.peak.value, intensity * self.bandwidth.value)

    def outline(self, low: float, high: float) -> list[tuple[float, float]]:
        """The roof over these intensities, with its ridge."""
        at = sorted({min(low, self.ridge), self.ridge, max(high, self.ridge)})
        return [(intensity, self.reachable_rate(intensity)) for intensity in at]

    def describe(self) -> str:
        """Both limits: `66.90 TFLOP/s in float32 and 4.80 TB/s, by the datasheet`; what was not checked is marked."""
        peak = f"{units.show_quantity(self.peak.value, 'count')}FLOP/s in {self.dtype}"
        statuses = {self.peak.status, self.bandwidth.status}
        source = "measured" if statuses == {"measured"} else "by the datasheet"
        doubts = ", ".join(sorted(statuses & {"derived", "unverified"}))
        limits = f"{peak} and {units.show_quantity(self.bandwidth.value, 'count')}B/s, {source}"
        return f"{limits} ({doubts})" if doubts else limits


def may_have_run_on(device: Device, ran: Ran) -> bool:
    """Whether a device may be the one that passes ran on: of the same kind, and the catalogue knows it as no other."""
    known = devices.find_device(ran.device_name)
    same = known is None or device.name == ran.device_name or known in (device, devices.find_device(device.name))
    return same and (device.kind == "cpu") == (ran.device == "cpu")


def validate_roof(device: Device, ran: Ran) -> None:
    """Raise `UsageError` where passes that were measured ran on another device than the roof is of."""
    if not may_have_run_on(device, ran):
        where = ran.device_name or {"cpu": "the CPU", "cuda": "the GPU"}.get(ran.device, ran.device)
        raise UsageError(
            f"A roof of {device.name} says nothing of times on {where}.",
            "The roof is that of the device that was measured.",
            f"Leave --device out, measure there, or give what archprof calibrate wrote of {where}.",
        )


def find_roof(profile: Profile, device: Device | None = None) -> Roof | None:
    """The roof of a device, or else of the one it was measured on, in the dtype of most products.

    `None`: the catalogue does not know enough.
    """
    measurement = profile.measurement
    if device is None and measurement is not None:
        found = devices.find_device(measurement.ran.device_name)
        device = found if found and may_have_run_on(found, measurement.ran) else None  # else its GPU has that name
    if device is None or measurement is None:
        return None
    ran_in = profile.product_dtype
    rounds_factors = ran_in == "float32" and measurement.ran.allows_tf32
    dtype = "tf32" if rounds_factors and device.peak("tf32") else ran_in
    peak, bandwidth = device.peak(dtype), device.bandwidth
    return Roof(device.name, dtype, peak, bandwidth) if peak and bandwidth else None
