"""Whether a model costs no more than it may: limits and a baseline against a profile.

All counts and sizes are whole numbers and a tolerance is a fraction, so a value on its limit is on it exactly. A
latency is held against its limit by its median, predicted memory by its value; where the limit lies inside the interval
of either, that is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from archprof import units
from archprof.analysis import elapsed
from archprof.analysis.metric import Metric
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.table import Table
from archprof.analysis.tables import notes
from archprof.analysis.view import ProfileView
from archprof.budgets.limits import (
    LIMITABLE_METRICS,
    MEMORY_KEY,
    Limit,
    limits_from_baseline,
    measure_total,
    split_by_layer,
)
from archprof.budgets.verdict_words import tabulate_checks
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.predicting.size_limits import find_refusal, say_refusal

Status = Literal["ok", "broken", "unknown: lower bound"]

MAX_NAMED_LAYERS = 3
"""How many layers are named for a limit that is not kept."""


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit against one profile.

    Attributes:
        limit: what may be.
        value: what is; a lower bound if `bound`.
        is_lower_bound: the profile does not hold everything that counts.
        status: a value that is a lower bound under its limit is neither kept nor broken.
        largest_layers: the layers that contribute most, by path, where the limit is not kept; of memory, categories.
        interval: the interval of a measured or predicted value, where the limit lies inside it.
        low, high: of such a value, wherever the limit lies, in base units; `None`: of a counted one, and not known.
        refusal: why the pass does not run on a GPU, in a sentence, where its memory or time there is limited.
    """

    limit: Limit
    value: float
    is_lower_bound: bool
    status: Status
    largest_layers: tuple[tuple[str, float], ...] = ()
    interval: str = ""
    low: float | None = None
    high: float | None = None
    refusal: str = ""

    @property
    def metric(self) -> Metric:
        return LIMITABLE_METRICS[self.limit.metric]

    @property
    def word(self) -> str:
        """Its name inside a sentence; a predicted time has another one than a measured one."""
        return f"predicted {self.metric.word}" if self.limit.predicts_latency else self.metric.word

    @property
    def is_close(self) -> bool:
        """It is predicted, and its interval reaches to both sides of the limit."""
        return bool(self.interval) and (self.limit.predicts_latency or not self.metric.measured)

    @property
    def over(self) -> float | None:
        """How far the value is above the limit, in base units; `None` where it is not."""
        return self.value - self.limit.most if self.value > self.limit.most else None

    @property
    def over_share(self) -> Fraction | None:
        """The same as a share of the limit; `None` too where the limit is 0."""
        return Fraction(self.over) / Fraction(self.limit.most) if self.over and self.limit.most else None

    @property
    def change(self) -> Fraction | None:
        """The value against the baseline, as a share of it; `None` without one, and of a baseline of 0."""
        return Fraction(self.value) / Fraction(self.limit.baseline) - 1 if self.limit.baseline else None


@dataclass(frozen=True)
class Verdict:
    """Every limit of one model.

    Attributes:
        model: the name that was asked for.
        checks: one per limit, in the order in which they were given.
        notes: what the reader must know of the profile.
        allow_incomplete: a lower bound under its limit passes.
    """

    model: str
    checks: tuple[LimitCheck, ...]
    notes: tuple[str, ...] = ()
    allow_incomplete: bool = False

    @property
    def ok(self) -> bool:
        return not self.broken

    @property
    def broken(self) -> tuple[LimitCheck, ...]:
        """The checks that fail."""
        return tuple(check for check in self.checks if not self.passes(check))

    def passes(self, check: LimitCheck) -> bool:
        return check.status == "ok" or (check.status != "broken" and self.allow_incomplete)

    @property
    def table(self) -> Table:
        """One row per limit; under it what is not kept and where that sits, and what a baseline could be lowered to."""
        return tabulate_checks(f"{self.model} against its limits", self.checks, self.notes)


def check_profile(
    profile: Profile,
    limits: Iterable[Limit],
    baseline: Profile | None = None,
    tolerance: str | float | Fraction = 0.0,
    *,
    allow_incomplete: bool = False,
) -> Verdict:
    """Hold a profile against limits, and against an earlier profile of the same pass.

    Args:
        profile: what is.
        limits: what may be; a value on its limit is within it.
        baseline: no metric may exceed its own by more than `tolerance`.
        tolerance: a share of the baseline: "1%", "0.01" or 0.01.
        allow_incomplete: a value that is a lower bound, and under its limit, passes. Otherwise it fails.

    Raises:
        UsageError: the baseline is of another input, dtype or mode, or there is nothing to check.
    """
    held = list(limits)
    if baseline is not None:
        _refuse_other_pass(profile, baseline)
        held += limits_from_baseline(baseline, tolerance)
    if not held:
        raise UsageError(f"There is nothing to check {profile.model} against.", "Give a limit or a baseline.")
    view = ProfileView(profile)
    checks = tuple(_check_limit(view, limit) for limit in held)
    return Verdict(profile.model, checks, notes.collect_notes(profile), allow_incomplete)


def _check_limit(view: ProfileView, limit: Limit) -> LimitCheck:
    metric, profile = LIMITABLE_METRICS[limit.metric], view.profile
    value, low, high = _read_total(view, limit)
    bound = metric.key in view.bounds or (metric.measured and profile.failure is not None)
    bound = bound or (limit.predicts_latency and not profile.totals.complete)
    refusal = _find_refusal(view, limit)
    if refusal:
        return LimitCheck(limit, value, bound, "broken", low=low, high=high, refusal=refusal)
    between = _say_interval(view, limit, low, high)
    if value <= limit.most and not bound:
        return LimitCheck(limit, value, bound, "ok", (), between, low, high)
    status: Status = "broken" if value > limit.most else "unknown: lower bound"
    largest = _list_largest(view, limit) if status == "broken" else ()
    return LimitCheck(limit, value, bound, status, largest, between, low, high)


def _find_refusal(view: ProfileView, limit: Limit) -> str:
    """Of memory, which is a GPU's, and of a time that is predicted on one."""
    if limit.predicts_latency:
        asked = view.profile.prediction is not None and view.profile.prediction.refused
    else:
        asked = limit.metric == MEMORY_KEY
    refusal = find_refusal(view.profile) if asked else None
    return "" if refusal is None else say_refusal(refusal)


def _read_total(view: ProfileView, limit: Limit) -> tuple[float, float | None, float | None]:
    """The number that a limit is about, and between what it lies if it is measured or predicted."""
    if limit.metric == MEMORY_KEY:
        return view.predict_memory(limit.device).needed_bytes
    if limit.predicts_latency and view.profile.prediction is not None:
        return view.profile.prediction.whole
    metric = LIMITABLE_METRICS[limit.metric]
    value = measure_total(metric, view)
    return (value, view.time.low, view.time.high) if metric.measured and view.time else (value, None, None)


def _say_interval(view: ProfileView, limit: Limit, low: float | None, high: float | None) -> str:
    """Where the limit lies inside it: `[1.36, 3.40] GiB`."""
    if low is None or high is None or not low <= limit.most < high:
        return ""
    if limit.predicts_latency:
        return elapsed.show_interval(PredictedTime(high, low, high))
    if limit.metric != MEMORY_KEY:
        return elapsed.show_interval(view.time) if view.time and low < limit.most else ""
    scale = units.choose_unit_scale([high], "bytes")
    return f"[{scale.format(low)}, {scale.format(high)}] {scale.symbol}"


def _list_largest(view: ProfileView, limit: Limit) -> tuple[tuple[str, float], ...]:
    """What contributes most: layers, or categories of memory, most of which may be no layer's."""
    is_memory = limit.metric == MEMORY_KEY
    sums = view.predict_memory(limit.device).needed_categories if is_memory else _sum_by_path(view, limit)
    found = sorted(((name, value) for name, value in sums.items() if value), key=lambda item: -item[1])
    return tuple(found[:MAX_NAMED_LAYERS])


def _sum_by_path(view: ProfileView, limit: Limit) -> dict[str, float]:
    """All calls of a layer together."""
    sums: dict[str, float] = {}
    for layer, value in zip(view.profile.layers, split_by_layer(_find_metric(limit), view), strict=True):
        path = layer.path or "(model)"
        sums[path] = sums.get(path, 0) + value
    return sums


def _find_metric(limit: Limit) -> Metric:
    """What a limit is about: of a predicted latency, that."""
    return METRIC_BY_KEY["predicted"] if limit.predicts_latency else LIMITABLE_METRICS[limit.metric]


def _refuse_other_pass(profile: Profile, baseline: Profile) -> None:
    """`UsageError` if the two passes ran on other inputs, in another dtype or another mode."""
    names = ("input", "dtype", "mode")
    pairs = zip(names, _describe_pass(profile), _describe_pass(baseline), strict=True)
    others = [f"{name} {ours} against {theirs}" for name, ours, theirs in pairs if ours != theirs]
    if others:
        raise UsageError(
            f"{profile.model} and its baseline were traced otherwise: {', '.join(others)}.",
            "A baseline is of the same input, batch, dtype and mode.",
            "Trace the baseline again, or give the model the options of the baseline.",
        )


def _describe_pass(profile: Profile) -> tuple[str, str, str]:
    """What went in, with the batch in the shapes however it was written; the dtype; the mode."""
    specs = profile.layers[0].inputs if profile.layers else ()
    shapes = ", ".join(f"{spec.dtype}[{','.join(map(str, spec.shape))}]" for spec in specs)
    return shapes or "none", profile.dtype_words, profile.mode
