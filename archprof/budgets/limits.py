"""What a model may cost: the metrics that can be limited, and limits as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from archprof import units
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metric import Metric
from archprof.analysis.metrics import METRIC_BY_KEY, measure_model
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.view import ProfileView
from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Profile
from archprof.predicting.devices import resolve_device
from archprof.predicting.memory_capacity import find_capacity
from archprof.predicting.runs import choose_one_device
from archprof.units import MOST_SIGNS, Unit

PARSERS: dict[Unit, Callable[[str], float]] = {
    "count": units.parse_count,
    "bytes": units.parse_bytes,
    "seconds": units.parse_seconds,
}

EXAMPLES: dict[Unit, str] = {"count": "25M", "bytes": "60MiB", "seconds": "5ms"}

LATENCY_KEY = "latency"
MEMORY_KEY = "memory"

LIMITABLE_METRICS = {
    name: METRIC_BY_KEY[key]
    for name, key in {
        "params": "params",
        "macs": "macs",
        "flops": "flops",
        "activation": "activation_bytes",
        "peak": "peak",
        MEMORY_KEY: "memory",
        LATENCY_KEY: "latency",
    }.items()
}
"""What can be limited, by the name in `--max-NAME`; memory is in the dtype of the pass."""


def describe_limit(metric: Metric) -> str:
    """ "Most MACs (multiply-accumulates of one forward), such as 25M." """
    meaning = metric.whole or metric.meaning
    said = meaning if meaning.startswith(metric.word) else f"{metric.word} ({meaning})"
    return f"Most {said}, such as {EXAMPLES[metric.unit]}."


def measure_total(metric: Metric, view: ProfileView) -> float:
    """The number that a limit is about.

    Raises:
        UsageError: it is measured, and the profile was not.
    """
    value: float | None = measure_model(metric, view)
    if value is None:
        raise UsageError(
            f"{view.name} was not measured, so its {metric.word} cannot be held against a limit.",
            f"A limit of {metric.word} needs a measured profile.",
            "Add --measure cpu or --cuda, or name a profile saved with it.",
        )
    return value


def split_by_layer(metric: Metric, view: ProfileView) -> list[float]:
    """What each layer contributes to it, in the order of `Profile.layers`."""
    values = metric.by_row(view) if metric.by_row else ()
    return [value.seconds if isinstance(value, Elapsed | PredictedTime) else value or 0 for value in values]


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that one metric may be.

    Attributes:
        metric: a key of `METRICS`.
        most: in base units; the value itself may be this large.
        source: who set it: "--max-params 25M", "baseline net.json + 1%".
        baseline: the value that the limit was made from, if it was.
        device: of a limit of memory, or of predicted latency: the name of the device that it is about; `None`: any.
    """

    metric: str
    most: float
    source: str
    baseline: float | None = None
    device: str | None = None

    @property
    def predicts_latency(self) -> bool:
        """It is about a time predicted on a device, and no measured one."""
        return self.metric == LATENCY_KEY and self.device is not None


def parse_limit(metric: str, most: str, source: str) -> Limit:
    """The limit that somebody typed: `limit("params", "25M", "--max-params 25M")`.

    Raises:
        UsageError: there is no such metric, or `most` is no number of its unit.
    """
    if metric not in LIMITABLE_METRICS:
        raise UnknownName("limit", metric, LIMITABLE_METRICS)
    try:
        return Limit(metric, PARSERS[LIMITABLE_METRICS[metric].unit](most), source)
    except UsageError as error:
        raise UsageError(f"{source}: {error.given}", error.allowed, error.hint) from error


def limit_to_device(limits: Iterable[Limit], name: str | None, *, predicts: bool = False) -> tuple[Limit, ...]:
    """The limits, with the memory of the device of that name as one of them, unless less is allowed anyway.

    `predicts`: the limit of latency is about what is predicted on it; then its memory is one where that is known.

    Raises:
        UsageError: there is no such device, or its memory is not known.
    """
    found = {limit.metric: limit for limit in limits}
    if name is None:
        return tuple(found.values())
    device = choose_one_device(name).device if predicts else resolve_device(name)
    if predicts:
        limit = found[LATENCY_KEY]
        found[LATENCY_KEY] = replace(limit, device=device.name, source=f"{limit.source}, device {name}")
    if not predicts or "mem_gb" in device.figures:
        own, given = Limit(MEMORY_KEY, find_capacity(device), f"device {name}"), found.get(MEMORY_KEY)
        least = given if given is not None and given.most < own.most else own
        found[MEMORY_KEY] = replace(least, device=device.name)
    return tuple(found.values())


def parse_tolerance(text: str | float | Fraction) -> Fraction:
    """`"1%"`, `"0.01"` or `0.01` -> 1/100, exactly; `UsageError` for what is no share of 0 or more."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", str(text), re.ASCII)
    plain = isinstance(text, Fraction | float | int) and 0 <= text < math.inf
    if not plain and len(str(text)) > MOST_SIGNS:
        raise UsageError(f"{str(text)[:MOST_SIGNS]!r}... is no tolerance.", "A share of the baseline: 1% or 0.01.")
    share = Fraction(str(text)) if plain else Fraction(match[1]) / (100 if match[2] else 1) if match else None
    if share is None or (share >= 1 and not (match and match[2])):
        raise UsageError(f"{text!r} is no tolerance.", "A share of the baseline: 1% or 0.01; 1 itself is written 100%.")
    return share


def limits_from_baseline(baseline: Profile, tolerance: str | float | Fraction = 0.0) -> tuple[Limit, ...]:
    """No counted metric may exceed that of `baseline` by more than `tolerance`, a share of it; predictions are none."""
    share = parse_tolerance(tolerance)
    source = f"baseline {baseline.model}" + (f" + {float(100 * share):g}%" if share else "")
    view = ProfileView(baseline)
    counted = [key for key, metric in LIMITABLE_METRICS.items() if not metric.measured and key != MEMORY_KEY]
    values = {key: measure_total(LIMITABLE_METRICS[key], view) for key in counted}
    return tuple(Limit(key, math.floor(value * (1 + share)), source, value) for key, value in values.items())
