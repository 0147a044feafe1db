"""What a device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archprof.facts.request import MeasureRequest

if TYPE_CHECKING:
    from archprof.measuring.calibrate import Calibration


def calibrate(device: str = "cuda") -> Calibration:
    """Measure the roofs of this machine's device in under a minute: copies, products by dtype, launches, marks."""
    from archprof.measuring.calibrate import calibrate_device
    from archprof.measuring.run import DEVICE_CLASSES

    return calibrate_device(DEVICE_CLASSES[MeasureRequest(device).device]())
