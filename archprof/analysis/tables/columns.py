"""The columns of the layer tables, and the lines that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from archprof.analysis import elapsed
from archprof.analysis.counts import Counts
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metrics import METRICS, compute_value, find_lower_bounds
from archprof.analysis.predicted import NO_TIME, PREDICTED_KEYS, PredictedTime, collect_outside_predictions
from archprof.analysis.table import Column, Value
from archprof.errors import UnknownName
from archprof.facts.overlays import Outside
from archprof.facts.records import Profile

COLUMN_OF_METHOD = {"": "latency", "eager": "eager", "kernel": "kernel"}
"""Methods whose times stand in a column: the headline, whichever it is, and those two."""

COLUMN_BY_KEY = {metric.key: metric for metric in METRICS if metric.by}
"""Every column of the layer tables, by key, in the order of the help."""

TIMED = tuple(metric for metric in METRICS if metric.by and metric.unit == "seconds")


@dataclass(frozen=True, slots=True)
class CountedLine:
    """What one row of a table is about: facts by column key, counts, and its place (see `table.Row`).

    `stopped` says that the forward came to its end inside, or before; `unsized` that a parameter inside has no shape.
    `row` is the call that it is about, where it is one.
    """

    name: str
    counts: Counts
    facts: Mapping[str, Value] = field(default_factory=dict)
    short: str | None = None
    depth: int = 0
    subtotal: bool = False
    stopped: bool = False
    unsized: bool = False
    outside: Outside | None = None
    row: int | None = None

    @property
    def bounds(self) -> frozenset[str]:
        return find_lower_bounds(unknown=bool(self.counts.unknown), stopped=self.stopped, unsized=self.unsized)

    @property
    def times(self) -> dict[str, Elapsed | PredictedTime | None]:
        """What was measured or predicted, by column key."""
        return {metric.key: getattr(self.counts, metric.reads[0]) for metric in TIMED}

    def value(self, key: str, total: Counts) -> Value:
        """What stands in a column, given the sums over all lines."""
        metric = COLUMN_BY_KEY[key]
        if metric.value is None:
            return self.facts.get(key)
        return compute_value(metric, self.counts, total, stopped=self.stopped)


def build_outside_lines(profile: Profile, key: str) -> list[CountedLine]:
    """What was measured or predicted, took time and belongs to no layer, a line each, named in the column `key`."""
    found = [elapsed.collect_outside_times(profile, method) for method in COLUMN_OF_METHOD]
    kernels = elapsed.count_kernels(profile)
    predicted = collect_outside_predictions(profile)
    taking = [one for rows in found for one, time in rows.items() if time]
    taking += [one for one, time in predicted.items() if time]
    return [
        CountedLine(
            name,
            Counts(
                latency=found[0].get(outside, Elapsed()),
                eager=found[1].get(outside, Elapsed()),
                kernel=found[2].get(outside, Elapsed()),
                n_kernels=None if kernels is None else kernels.get(outside, 0),
                predicted=predicted.get(outside, NO_TIME),
            ),
            {key: name},
            outside=outside,
        )
        for outside in dict.fromkeys(taking)
        if isinstance(outside, Outside) and (name := f"({outside.value})")
    ]


_BACKWARD = tuple(metric.key for metric in METRICS if metric.trained)
_WORK = ("macs", "flops", *_BACKWARD)
_ACTIVATIONS = ("act_fp32", "act_fp16")
_COSTS = ("macs", "share_macs", "params", *_WORK[1:], *_ACTIVATIONS)

ACTIVATION_COLUMNS = {"float32": _ACTIVATIONS, "float16": ("act_fp16",), "bfloat16": ("act_bf16",)}
"""What is shown of activation memory, by the dtype of the pass: that of the pass first."""


class Grouping(NamedTuple):
    """One way to ask.

    Attributes:
        key: the column that names its rows.
        default_columns: the columns that are shown when none are named; those of the backward pass in train mode only.
        default_sort: what its rows are sorted by; `None` = they stand in the order of the calls.
    """

    key: str
    default_columns: tuple[str, ...]
    default_sort: str | None


GROUPINGS = {
    "layer": Grouping("layer", ("kind", "call", "output", *_COSTS), None),
    "stage": Grouping("stage", ("first", "last", *_COSTS), None),
    "kind": Grouping("kind", (*_COSTS, "calls"), "macs"),
    "op": Grouping("op", ("macs", "share_macs", *_WORK[1:], "bytes_moved", "calls"), "macs"),
}


def list_columns(by: str) -> list[str]:
    """The keys of the columns that a table by `by` can have; `UnknownName` when nothing is grouped so."""
    if by not in GROUPINGS:
        raise UnknownName("grouping", by, GROUPINGS)
    return [key for key, metric in COLUMN_BY_KEY.items() if by in metric.by]


def list_measured_columns(profile: Profile) -> list[str]:
    """The measured columns that a table shows when none are named: those that this profile has values for."""
    methods = {one.method for one in profile.measurement.latencies} if profile.measurement else set()
    shown = ["latency", "low", "high", "share_latency"] if methods else []
    shown += [key for key in ("eager", "kernel") if key in methods and len(methods) > 1]
    shown += ["launch_bound"] if {"eager", "kernel"} <= methods else []
    shown += ["n_kernels"] if elapsed.count_kernels(profile) is not None else []
    peaks = ["peak_measured", "peak_predicted", "peak_off"]
    return shown + (peaks if profile.measurement and profile.measurement.memory else [])


def list_predicted_columns(profile: Profile) -> list[str]:
    """The predicted columns that a table shows when none are named: all of them where something was predicted."""
    return [*PREDICTED_KEYS] if profile.prediction is not None else []


def show_activations(keys: Sequence[str], dtype: str) -> list[str]:
    """The columns with those of activation memory in the dtype of the pass."""
    own = ACTIVATION_COLUMNS.get(dtype, ("activation_bytes",))
    if "act_fp32" not in keys:
        return list(keys)
    at = list(keys).index("act_fp32")
    return [*keys[:at], *own, *(key for key in keys[at:] if key not in _ACTIVATIONS)]


def relabel_attributed(profile: Profile, column: Column) -> Column:
    """The column, by another name where its latency was not timed but attributed."""
    found = elapsed.find_latency(profile)
    if found is None or not found.attributed or column.key not in ("latency", "share_latency"):
        return column
    return replace(column, header="Attributed")


def describe_columns(by: str = "layer") -> str:
    """Every column of a table by `by`, one line each: its key and what it means."""
    keys = list_columns(by)
    widest = max(map(len, keys))
    return "".join(f"{key:<{widest}}  {COLUMN_BY_KEY[key].meaning}\n" for key in keys)
