"""The six numbers of a report's first screen."""

from __future__ import annotations

from typing import NamedTuple

from archprof.analysis import elapsed, phrases
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.report.view import PageView
from archprof.facts.predicted import LatencyPrediction

FLOPS_NOTE = "2 x MACs and all other arithmetic"


class Tile(NamedTuple):
    """One number of the first screen.

    Attributes:
        key: "params", "macs", "flops", "activation", "latency" or "field".
        value: raw; `None` when there is none, and then `note` says why.
        unit: "count", "bytes", "seconds" or "px".
        second: another value of the same unit beside the first, with its label, such as float16 beside float32.
        is_lower_bound: the value is a lower bound.
        note: a few words under the number; "" for none.
        half_interval: what a measured value is right within.
    """

    key: str
    value: float | None
    unit: str
    second: tuple[float | None, str] | None
    is_lower_bound: bool
    note: str
    half_interval: float = 0.0

    @property
    def label(self) -> str:
        """What stands above the number."""
        return METRIC_BY_KEY["act_fp32" if self.key == "activation" else self.key].title


def build_tiles(view: PageView) -> tuple[Tile, ...]:
    """Parameters, MACs, FLOPs, activation memory, latency and receptive field."""
    totals, bounds, train = view.profile.totals, view.bounds, view.profile.mode == "train"
    trainable = None if totals.trainable_params == totals.params else (totals.trainable_params, "trainable")
    macs, flops = (totals.backward_macs, "backward"), (totals.backward_flops, "backward")
    act = totals.activation_bytes
    sizes, sign = (act["float16"], "float16"), "float32"
    return (
        Tile("params", totals.params, "count", trainable, "params" in bounds, phrases.say_bytes(totals.param_bytes)),
        Tile("macs", totals.macs, "count", macs if train else None, "macs" in bounds, "of one forward"),
        Tile("flops", totals.flops, "count", flops if train else None, "flops" in bounds, FLOPS_NOTE),
        Tile("activation", act["float32"], "bytes", sizes, "act_fp32" in bounds, sign),
        _latency(view),
        _field(view),
    )


def _latency(view: PageView) -> Tile:
    """Of the whole model without marks, with its interval and where it was measured."""
    measurement, time = view.profile.measurement, view.time
    if time is None and view.profile.prediction is not None:
        return _predicted_latency(view.profile.prediction)
    if measurement is None or time is None:
        return Tile("latency", None, "seconds", None, False, "not measured")
    where = measurement.device_title
    words = f"{elapsed.show_interval(time)}; {'' if time.stable else 'unstable; '}{where}"
    return Tile("latency", time.seconds, "seconds", None, False, words, time.half_interval)


def _predicted_latency(found: LatencyPrediction) -> Tile:
    """Of the whole pass, with its interval, the device and its standing where that makes it a bound."""
    time = PredictedTime(*found.whole)
    least = "a bound" if found.standing == "bound" else "predicted"
    words = f"{elapsed.show_interval(time)}; {least} on {found.device}"
    return Tile("latency", time.seconds, "seconds", None, not found.complete, words, time.half_interval)


def _field(view: PageView) -> Tile:
    """What one position sees before something mixes all, and where; beside it, what it sees past the global paths."""
    row, model = view.widest_row, view.fields[0] if view.fields else None
    reason = model.reason if model and model.reason else ""
    size = view.field
    local = max((max(field.local) for field in view.fields if field.local), default=0)
    note = reason or "no layer has one"
    if row is not None:
        note = f"in {view.table_row_name(row)}{', before ' if reason else ''}{reason}"
    second = (local, "without global paths") if local > (size or 0) else None
    return Tile("field", size, "px", second, "field" in view.bounds, note)
