"""What a model may cost: the metrics that can be limited, and limits as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import NamedTuple

from archprof import units
from archprof.analysis import elapsed
from archprof.analysis.table import Unit
from archprof.analysis.tables.columns import own_counts
from archprof.errors import UnknownName, UsageError
from archprof.facts import liveness
from archprof.facts.records import Profile


class Metric(NamedTuple):
    """One number of a profile that can have a limit.

    Attributes:
        header: its name for a reader.
        unit: of the number.
        parse: reads a limit that somebody typed.
        by_layer: what each layer contributes, in the order of `Profile.layers`.
        total: the number itself; of a measured metric only for a profile that was measured.
        counted: it is a sum over ops, so an op without a rule makes it a lower bound.
        measured: it moves from run to run, so no baseline sets a limit of it.
    """

    header: str
    unit: Unit
    parse: Callable[[str], float]
    by_layer: Callable[[Profile], Sequence[float]]
    total: Callable[[Profile], float]
    counted: bool = False
    measured: bool = False


def _summed(header: str, key: str, unit: Unit = "count", counted: bool = False) -> Metric:
    """A metric that is the sum of a column of the layer table."""
    value = attrgetter(key)

    def own(profile: Profile) -> list[int]:
        return [value(counts) for counts in own_counts(profile)]

    parse = units.parse_bytes if unit == "bytes" else units.parse_count
    return Metric(header, unit, parse, own, lambda profile: sum(own(profile)), counted)


def _latency(profile: Profile) -> float:
    """The median of the whole model, without marks."""
    time = elapsed.find_model_time(profile)
    if time is None:
        raise UsageError(
            f"{profile.model} was not measured, so its latency cannot be held against a limit.",
            "A limit of latency needs a measured profile.",
            "Add --measure cpu or --cuda, or name a profile saved with it.",
        )
    return time.seconds


def _own_latency(profile: Profile) -> list[float]:
    return [time.seconds if time else 0.0 for time in elapsed.collect_row_times(profile)]


LATENCY_KEY = "latency"

LIMITABLE_METRICS = {
    "params": _summed("parameters", "params"),
    "macs": _summed("MACs", "macs", counted=True),
    "flops": _summed("FLOPs", "flops", counted=True),
    "activation": _summed("activation memory", "activation_bytes", "bytes"),
    "peak": Metric(
        "peak memory", "bytes", units.parse_bytes, liveness.split_peak_by_layer, liveness.compute_peak_bytes
    ),
    LATENCY_KEY: Metric("latency", "seconds", units.parse_seconds, _own_latency, _latency, measured=True),
}
"""What can be limited, by the name in `--max-NAME`; memory is in the dtype of the pass."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that one metric may be.

    Attributes:
        metric: a key of `METRICS`.
        most: in base units; the value itself may be this large.
        source: who set it: "--max-params 25M", "baseline net.json + 1%".
        baseline: the value that the limit was made from, if it was.
    """

    metric: str
    most: float
    source: str
    baseline: float | None = None


def parse_limit(metric: str, most: str, source: str) -> Limit:
    """The limit that somebody typed: `limit("params", "25M", "--max-params 25M")`.

    Raises:
        UsageError: there is no such metric, or `most` is no number of its unit.
    """
    if metric not in LIMITABLE_METRICS:
        raise UnknownName("limit", metric, LIMITABLE_METRICS)
    try:
        return Limit(metric, LIMITABLE_METRICS[metric].parse(most), source)
    except UsageError as error:
        raise UsageError(f"{source}: {error.given}", error.allowed, error.hint) from error


def parse_tolerance(text: str | float | Fraction) -> Fraction:
    """`"1%"`, `"0.01"` or `0.01` -> 1/100, exactly; `UsageError` for what is no share of 0 or more."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", str(text), re.ASCII)
    plain = isinstance(text, Fraction | float | int) and 0 <= text < math.inf
    share = Fraction(str(text)) if plain else Fraction(match[1]) / (100 if match[2] else 1) if match else None
    if share is None or (share >= 1 and not (match and match[2])):
        raise UsageError(f"{text!r} is no tolerance.", "A share of the baseline: 1% or 0.01; 1 itself is written 100%.")
    return share


def limits_from_baseline(baseline: Profile, tolerance: str | float | Fraction = 0.0) -> tuple[Limit, ...]:
    """No counted metric may exceed that of `baseline` by more than `tolerance`, a share of it."""
    share = parse_tolerance(tolerance)
    source = f"baseline {baseline.model}" + (f" + {float(100 * share):g}%" if share else "")
    values = {key: metric.total(baseline) for key, metric in LIMITABLE_METRICS.items() if not metric.measured}
    return tuple(Limit(key, math.floor(value * (1 + share)), source, value) for key, value in values.items())
