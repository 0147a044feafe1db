"""How sure a prediction is: the interval that nine of ten measurements fell in, of what was left out of the fit."""

from __future__ import annotations

from archprof.facts.predicted import Seconds
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.rates import Rates


def spread_whole(seconds: float, least: float, rates: Rates) -> Seconds:
    """The interval of a whole pass; `least` is its roofline, which a "bound" starts at."""
    return _spread(seconds, least, rates, load_constants()["spread"]["whole"])


def spread_row(seconds: float, least: float, rates: Rates) -> Seconds:
    """The interval of one row."""
    return _spread(seconds, least, rates, load_constants()["spread"]["row"])


def _spread(seconds: float, least: float, rates: Rates, factor: float) -> Seconds:
    spread = load_constants()["spread"]
    if rates.standing == "bound":
        return Seconds(seconds, min(least, seconds), seconds * factor * spread["bound"])
    if rates.standing == "calibrated":
        factor **= spread["calibrated"]
    return Seconds(seconds, seconds / factor, seconds * factor)
