"""The numbers of a report's first screen: only those that there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archprof import units
from archprof.analysis import elapsed, phrases
from archprof.analysis.metrics import METRIC_BY_KEY, measure_model
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.report.view import PageView
from archprof.facts import liveness
from archprof.facts.predicted import LatencyPrediction
from archprof.predicting.memory import predict_memory
from archprof.predicting.memory_capacity import judge
from archprof.predicting.workspaces import choose_workspaces
from archprof.wording import say_many

NAMES_OF_TILES = {"activation": "Activation memory", "fits": "Memory used", "bound": "Time, at least",
    "top5_error": "Top-5 error"}  # fmt: skip
"""What stands above numbers that are no metric."""


class Tile(NamedTuple):
    """One number of the first screen.

    Attributes:
        key: "params", "macs", "peak", "activation", "latency", "fits" (on a device), "bound" (of its time there) or
            "top5_error".
        value: raw.
        unit: "count", "bytes", "seconds" or "percent".
        second: another value of the same unit beside the first, with its label, such as the FLOPs beside the MACs.
        is_lower_bound: the value is a lower bound.
        note: a few words under the number; "" for none.
        half_interval: what a measured value is right within.
    """

    key: str
    value: float
    unit: str
    second: tuple[float | None, str] | None
    is_lower_bound: bool
    note: str
    half_interval: float = 0.0

    @property
    def label(self) -> str:
        """What stands above the number."""
        return NAMES_OF_TILES.get(self.key) or METRIC_BY_KEY[self.key].title


def build_tiles(view: PageView) -> tuple[Tile, ...]:
    """Parameters, MACs, peak memory and activations, in the dtype of the pass; then what else is known."""
    return (*_count(view), *_remember(view), *_time(view), *_hold(view), *_err(view))


def _count(view: PageView) -> Iterator[Tile]:
    totals, bounds, train = view.profile.totals, view.bounds, view.profile.mode == "train"
    trainable = None if totals.trainable_params == totals.params else (totals.trainable_params, "trainable")
    yield Tile("params", totals.params, "count", trainable, "params" in bounds, phrases.say_bytes(totals.param_bytes))
    backward = f"; {units.show_quantity(totals.backward_macs, 'count')} backward" if train else ""
    flops = (totals.flops, f"FLOPs{backward}")
    yield Tile("macs", totals.macs, "count", flops, "macs" in bounds, "")


def _remember(view: PageView) -> Iterator[Tile]:
    """The most bytes live at once, and where; what the forward makes."""
    profile = view.profile
    if view.live_bytes:
        most = max(view.live_bytes)
        row = profile.row_of(profile.ops[view.live_bytes.index(most)])
        there = (profile.storages[index] for index in liveness.find_live_at_peak(profile))
        fixed = sum(one.nbytes for one in there if one.role in ("parameter", "buffer"))
        weights = f", {phrases.say_percent(fixed / most)} weights" if fixed else ""
        name = view.table_row_name(row) if view.layer(row).path else "the model itself"
        where = f"at {name}{weights}, in {profile.dtype}"
        yield Tile("peak", most, "bytes", None, "act_fp32" in view.bounds, where)
    made = measure_model(METRIC_BY_KEY["activation_bytes"], view)
    yield Tile("activation", made, "bytes", None, "act_fp32" in view.bounds, f"made by a forward, in {profile.dtype}")


def _time(view: PageView) -> Iterator[Tile]:
    """Measured of the whole model without marks, with its interval and where it was measured."""
    measurement, time = view.profile.measurement, view.time
    if measurement is not None and time is not None:
        interval = elapsed.show_interval(time) if len(time.rounds) > 1 else "one round"
        words = f"{interval}; {'' if time.stable else 'unstable; '}{measurement.device_title}"
        yield Tile("latency", time.seconds, "seconds", None, False, words, time.half_interval)
    elif view.profile.prediction is not None:
        yield _predicted_latency(view.profile.prediction)


def _predicted_latency(found: LatencyPrediction) -> Tile:
    """Of the whole pass, with its interval, the device and its standing where that makes it a bound."""
    time = PredictedTime(*found.whole)
    least = "a bound" if found.standing == "bound" else "predicted"
    words = f"{elapsed.show_interval(time)}; {least} on {found.device}"
    return Tile("latency", time.seconds, "seconds", None, not found.complete, words, time.half_interval)


def _hold(view: PageView) -> Iterator[Tile]:
    """Whether it fits on the device that was named, and what its arithmetic takes there at least."""
    device, profile = view.device, view.profile
    if device is None or device.kind == "cpu" or not profile.ops or profile.failure is not None:
        return
    if "mem_gb" in device.figures:
        found = predict_memory(profile, choose_workspaces(device.name))
        needed, verdict = found.needed_bytes, judge(found, device)
        words = f"{verdict.word} on {device.name}, predicted"
        yield Tile("fits", needed.value, "bytes", None, needed.high is None, words)
    peak = device.peak(profile.product_dtype) or device.peak(profile.dtype)
    work = profile.totals.macs + (profile.totals.backward_macs or 0)
    if peak and work and profile.prediction is None:
        words = f"2 x MACs at {units.show_quantity(peak.value, 'count')}FLOP/s of {device.name}"
        yield Tile("bound", 2 * work / peak.value, "seconds", None, False, words)


def _err(view: PageView) -> Iterator[Tile]:
    if view.top5_error is not None:
        words = "ImageNet, of a competition entry" if view.is_competition_entry else "ImageNet, single model"
        yield Tile("top5_error", view.top5_error, "percent", None, False, words)


def build_details(view: PageView) -> tuple[str, ...]:
    """What is known and leads no page: depth; what a position of a convolutional net sees."""
    said = []
    if view.depth and "depth" not in view.bounds:
        said.append(f"{say_many(view.depth, 'weight layer')} deep")
    field = view.reach or 0
    if view.is_convolutional and field > 1 != view.image_positions and "field" not in view.bounds:
        said.append(f"receptive field {field:,} px")
    if view.profile.ran.device != "meta":
        said.append("counted on values: its numbers depend on what goes in")
    return tuple(said)
