"""The rows of a sweep as points: what can be set against what, by which setting, and who is on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archprof.analysis.report.charts import ChartUnit
from archprof.analysis.report.joint_charts import find_pareto_front
from archprof.analysis.tables.swept import BOUNDS
from archprof.facts.swept import SweptRow


class Measure(NamedTuple):
    """What can stand along an axis: a column of the rows."""

    key: str
    label: str
    unit: ChartUnit


MEASURES = (
    Measure("macs", "MACs", "count"),
    Measure("params", "Parameters", "count"),
    Measure("activation_bytes", "Activations", "bytes"),
    Measure("live_bytes", "Live peak, predicted", "bytes"),
    Measure("device_used_bytes", "Device used, predicted", "bytes"),
    Measure("measured_peak_bytes", "Peak, measured", "bytes"),
    Measure("predicted_seconds", "Time, predicted", "seconds"),
    Measure("measured_seconds", "Time, measured", "seconds"),
    Measure("top5_error", "Published top-5 error", "percent"),
)
SETTING_FIELDS = ("batch", "dtype", "mode", "amp", "optimizer", "inputs", "device", "measured_on")
"""What is set beside the model; those that vary name a setting."""


@dataclass(frozen=True)
class SweptScatter:
    """The picture's data.

    Attributes:
        measures: that at least two rows have.
        across, upwards: the measures that stand first.
        settings: names of the sets of points.
        setting_of: the set of each row.
    """

    measures: tuple[Measure, ...]
    across: Measure
    upwards: Measure
    settings: tuple[str, ...]
    setting_of: tuple[int, ...]


def build_swept_scatter(rows: Sequence[SweptRow]) -> SweptScatter | None:
    """`None` where no two rows have two measures to be set against each other."""
    measures = tuple(one for one in MEASURES if sum(getattr(row, one.key) is not None for row in rows) > 1)
    if len(measures) < 2:
        return None
    known = {one.key: one for one in measures}
    across = known.get("macs", measures[0])
    others = [key for key in ("top5_error", "params") if key in known and key != across.key]
    upwards = known[others[0]] if others else next(one for one in measures if one is not across)
    names = _name_settings(rows)
    settings = tuple(dict.fromkeys(names))
    return SweptScatter(measures, across, upwards, settings, tuple(map(settings.index, names)))


def _name_settings(rows: Sequence[SweptRow]) -> list[str]:
    """What sets the row apart from rows of other settings: "batch 8, float32"; "" where nothing does."""
    varying = [name for name in SETTING_FIELDS if len({getattr(row, name) for row in rows if row.status == "ok"}) > 1]
    return [", ".join(_say_setting(row, name) for name in varying if getattr(row, name) is not None) for row in rows]


def _say_setting(row: SweptRow, name: str) -> str:
    return f"batch {row.batch}" if name == "batch" else str(getattr(row, name))


def find_swept_front(rows: Sequence[SweptRow], places: Sequence[int], across: Measure, upwards: Measure) -> list[int]:
    """Of the rows at these places, those that no other beats in one without losing in the other; less is better.

    A lower bound is on no front.
    """
    known = [place for place in places if is_fair(rows[place], across) and is_fair(rows[place], upwards)]
    pairs = [(getattr(rows[place], across.key), getattr(rows[place], upwards.key)) for place in known]
    return [known[i] for i in find_pareto_front(pairs)]


def is_fair(row: SweptRow, measure: Measure) -> bool:
    """Whether the row has the measure, and not a lower bound of it."""
    return getattr(row, measure.key) is not None and (row.complete or measure.key not in BOUNDS)
