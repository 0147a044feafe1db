"""How sure a prediction is: the interval that nine of ten measurements fell in, of what was left out of the fit.

Half widths are in logarithms, so that an interval is as much a factor below as above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from archprof.facts.predicted import Seconds
from archprof.predicting.latency.kernels import is_converted
from archprof.predicting.latency.rates import Rates

LAYOUTS = ("", " last")
"""Channels first, and last: on a known device one of them is surer than the other."""

_new_seconds: Callable[[Iterable[float]], Seconds] = partial(tuple.__new__, Seconds)


class Doubt(NamedTuple):
    """What the width depends on.

    Attributes:
        rates: of the device, with its standing.
        mode, dtype: of the pass; the dtype is that of most of its products.
        waiting: share of the time that the device waits for the host, whose speed nobody knows.
        compiled, channels_last: see `archprof.facts.predicted.LatencyPrediction`.
    """

    rates: Rates
    mode: str
    dtype: str
    waiting: float
    compiled: bool
    channels_last: bool


def find_half_width(doubt: Doubt, spread: Mapping[str, Any]) -> float:
    """The half width of a whole pass."""
    standing = doubt.rates.standing
    group = "half" if doubt.dtype in ("float16", "bfloat16") else "full"
    if is_converted(doubt.dtype, doubt.rates):
        group = "converted"
    guessed = doubt.rates.maker != "nvidia"  # its rates may be measured: how its kernels use them was never fitted
    if guessed or standing == "unseen":
        own_kind = spread["unseen"][f"{group} {doubt.mode}"]
    else:
        own_kind = spread["seen"][f"{group} {doubt.mode}{LAYOUTS[doubt.channels_last]}"]
    kernel = own_kind * spread["shrinks"].get("bound" if guessed else standing, 1.0)
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
    factor = math.exp(half)
    low = min(least, seconds) if rates.standing == "bound" else seconds / factor
    return Seconds(seconds, low, seconds * factor)


def spread_row(
    seconds: float, least: float, kind: str, waiting: float, half: float, spread: Mapping[str, Any], is_bound: bool
) -> Seconds:
    """The interval of one row: that of single kernels of its class, `kind`; no narrower than that of the whole, `half`.

    `waiting`: the share of its time in which the device waits for the host.
    """
    widths = spread["rows"]
    kernel = widths[kind] if kind in widths else widths["other"]
    factor = math.exp(max(math.hypot(kernel * (1.0 - waiting), spread["host"] * waiting), half))
    return _new_seconds((seconds, min(least, seconds) if is_bound else seconds / factor, seconds * factor))
