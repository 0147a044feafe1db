"""The roofline of predicted times: how fast layers should run, under the roof of the device that they should run on."""

from __future__ import annotations

from archprof.analysis.counts import compute_intensity
from archprof.analysis.report.view import PageView
from archprof.predicting.devices import load_catalogue
from archprof.predicting.roofline import Roof

RatePoint = tuple[float, float, str]


def predict_rates(view: PageView) -> list[RatePoint]:
    """Intensity, FLOP/s and name of the rows that compute, the fastest first."""
    rates = []
    for row, own in enumerate(view.own_counts):
        intensity, time = compute_intensity(own), own.predicted
        flops = own.flops + (own.backward_flops or 0)
        if intensity and time and flops:
            rates.append((intensity, flops / time.seconds, view.table_row_name(row)))
    return sorted(rates, key=lambda rate: -rate[1])


def find_predicted_roof(view: PageView) -> Roof | None:
    """The roof of the device of the prediction; `None` where that is not known."""
    found = view.profile.prediction
    named = {device.name: device for device in load_catalogue()}
    device = view.device or (named.get(found.device) if found else None)
    if found is None or device is None:
        return None
    dtype = view.profile.product_dtype
    rounded = dtype == "float32" and any(found.tf32) and device.peak("tf32")
    peak, bandwidth = device.peak("tf32" if rounded else dtype) or device.peak("float32"), device.bandwidth
    return Roof(device.name, "tf32" if rounded else dtype, peak, bandwidth) if peak and bandwidth else None
