"""How sure a prediction is: the interval that nine of ten measurements fell in, of what was left out of the fit.

Half widths are in logarithms, so that an interval is as much a factor below as above.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from archprof.facts.predicted import Seconds
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.kernels import is_converted
from archprof.predicting.latency.rates import Rates


class Doubt(NamedTuple):
    """What the width depends on.

    Attributes:
        rates: of the device, with its standing.
        mode, dtype: of the pass; the dtype is that of most of its products.
        waiting: share of the time that the device waits for the host, whose speed nobody knows.
        compiled: see `archprof.facts.predicted.LatencyPrediction`.
    """

    rates: Rates
    mode: str
    dtype: str
    waiting: float
    compiled: bool


def find_half_width(doubt: Doubt, spread: Mapping[str, Any]) -> float:
    """The half width of a whole pass."""
    standing = doubt.rates.standing
    group = "half" if doubt.dtype in ("float16", "bfloat16") else "full"
    if is_converted(doubt.dtype, doubt.rates):
        group = "converted"
    kernel = spread["unseen" if standing in ("unseen", "bound") else "seen"][f"{group} {doubt.mode}"]
    kernel *= spread["shrinks"].get(standing, 1.0)
    own = math.hypot(kernel * (1.0 - doubt.waiting), spread["host"] * doubt.waiting)
    far = spread["far"] * _find_distance(doubt.rates, spread)
    return math.sqrt(own**2 + far**2 + (spread["compiled"] ** 2 if doubt.compiled else 0.0))


def _find_distance(rates: Rates, spread: Mapping[str, Any]) -> float:
    """How far a device lies from those that were measured: in octaves of arithmetic per byte, 0 within their range."""
    if "bandwidth" in rates.measured:
        return 0.0
    low, high = spread["intensities"]
    intensity = rates.peaks["float32"] / rates.bandwidth
    return max(0.0, math.log2(low / intensity), math.log2(intensity / high))


def spread_whole(seconds: float, least: float, half: float, rates: Rates) -> Seconds:
    """The interval of a whole pass; `least` is its roofline, at which that of a "bound" starts."""
    return _spread(seconds, least, half, rates)


def spread_row(seconds: float, least: float, kind: str, waiting: float, half: float, rates: Rates) -> Seconds:
    """The interval of one row: that of single kernels of its class, `kind`; no narrower than that of the whole, `half`.

    `waiting`: the share of its time in which the device waits for the host.
    """
    spread = load_constants()["spread"]
    kernel = spread["rows"].get(kind, spread["rows"]["other"])
    own = math.hypot(kernel * (1.0 - waiting), spread["host"] * waiting)
    return _spread(seconds, least, max(own, half), rates)


def _spread(seconds: float, least: float, half: float, rates: Rates) -> Seconds:
    factor = math.exp(half)
    low = min(least, seconds) if rates.standing == "bound" else seconds / factor
    return Seconds(seconds, low, seconds * factor)
