"""From the values of a picture to places on the page, and round numbers along the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archprof import units
from archprof.analysis.report.charts import ChartData, ChartUnit

LOG_SPAN = 30.0
"""The span of a scatter's axis, largest by smallest, from which on it is logarithmic."""

PREFIX_SPAN = 1e5
"""The span of a logarithmic axis of counts from which on each of its numbers has a prefix of its own."""

BASE_UNITS = {"count": "", "bytes": " [B]", "seconds": " [s]", "percent": " [%]"}
"""What stands behind the name of an axis whose values have no prefix."""


def choose_scale(unit: ChartUnit, values: Sequence[float]) -> units.UnitScale:
    """One scale for the values of an axis: the largest leads."""
    if unit == "percent":
        return units.UnitScale("%", 1, 2)
    return units.choose_unit_scale([max(values, key=abs, default=0)], unit)


def label_with_unit(label: str, scale: units.UnitScale) -> str:
    """The label of an axis with the unit its numbers have."""
    return f"{label} [{scale.symbol}]" if scale.symbol else label


def choose_scales(series: ChartData) -> tuple[units.UnitScale | None, units.UnitScale]:
    """How the numbers of the two axes print; `None` across where the picture has categories.

    What is stacked prints as its sum does, and a logarithmic axis that spans too much for one prefix has none.
    """
    across = [x for points in series.points for x, _, _ in points if not isinstance(x, str)]
    upwards = [y for points in series.points for _, y, _ in points]
    if series.kind == "stack":
        sums: dict[float | str, float] = {}
        for x, y, _ in (point for points in series.points for point in points):
            sums[x] = sums.get(x, 0) + y
        upwards = list(sums.values())
    return (_scale_axis(series, series.x_unit, across) if across else None), _scale_axis(series, series.y_unit, upwards)


def _scale_axis(series: ChartData, unit: ChartUnit, values: Sequence[float]) -> units.UnitScale:
    wide = is_logarithmic(series, values) and max(values) / min(values) >= PREFIX_SPAN
    return units.UnitScale("", 1, 2) if unit == "count" and wide else choose_scale(unit, values)


def name_ticks(ticks: Sequence[float]) -> list[str]:
    """A text for each, with a prefix where they are too far apart for one in the name of the axis."""
    wide = bool(ticks) and max(map(abs, ticks)) >= units.NO_PREFIX_BELOW * 10
    return [name_large(tick) if wide else f"{tick:,.6g}" for tick in ticks]


def name_large(value: float) -> str:
    """`100 k`, `2 M`."""
    symbol, factor = max(
        (step for step in units.UNIT_LADDERS["count"] if step[1] <= max(abs(value), 1)), key=lambda step: step[1]
    )
    return f"{value / factor:.6g} {symbol}".rstrip()


def is_logarithmic(series: ChartData, values: Sequence[float]) -> bool:
    """Whether an axis with these values is logarithmic."""
    return series.kind == "scatter" and bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_SPAN


def order_categories(series: ChartData) -> list[str]:
    """The texts of an axis, in an order that keeps that of each set: what one lacks stands where others have it."""
    order: list[str] = list(series.categories)
    for points in series.points:
        place = len(order)
        for name in reversed([str(x) for x, _, _ in points]):
            if name in order:
                place = order.index(name)
            else:
                order.insert(place, name)
    return order


@dataclass(frozen=True)
class PlotAxis:
    """`low` is drawn at the pixel `start`, `high` at `end`; an axis of `whole_numbers` counts things."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole_numbers: bool = False

    def pixel_of(self, value: float) -> float:
        """The pixel of a value."""
        low, high, here = (self.low, self.high, value)
        if self.log:
            low, high, here = math.log10(low), math.log10(high), math.log10(here)
        return self.start + (here - low) / (high - low) * (self.end - self.start) if high > low else self.start

    def ticks(self, about: int) -> list[float]:
        """Round values along the axis, roughly so many."""
        if self.log:
            return [tick for tick in _decades(self.low, self.high) if self.low <= tick <= self.high]
        step = _round((self.high - self.low) / about)
        step = max(step, 1.0) if self.whole_numbers else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def fit_axis(values: Sequence[float], start: float, end: float, *, log: bool = False, zero: bool = False) -> PlotAxis:
    """An axis with all of the values and a little room; from `zero` where asked for."""
    low, high = min(values), max(values)
    if log:
        return PlotAxis(low / 1.4, high * 1.4, start, end, log=True)
    room = 0.05 * (high - min(low, 0) if zero else high - low) or 0.2 * abs(high) or 1.0
    whole = all(float(value).is_integer() for value in values)
    return PlotAxis(min(0.0, low) if zero else low - room, high + room, start, end, whole_numbers=whole)


def _decades(low: float, high: float) -> Iterator[float]:
    """1, 2, 5, 10 and so on; over a wide span powers of ten alone."""
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (factor * 10.0**power for factor in factors)


def _round(step: float) -> float:
    """The next larger of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)
