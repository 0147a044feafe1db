"""What a measurement on a GPU is held against: each check is a number, its target, and what more there is to say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from archprof.facts.measured import Latency, Timing
from archprof.facts.overlays import Outside
from archprof.facts.records import Profile

LONG, LONGER = 20e-6, 50e-6
"""Seconds of a layer on which methods, and processes, are compared: shorter ones show the resolution of events."""


class NotMeasured(Exception):
    """A way of measuring did not work."""


class Check(NamedTuple):
    """One line of the table; `reached` and `target` are in the same unit, and smaller is better."""

    what: str
    subject: str
    target: float | None
    reached: float
    unit: str
    more: str = ""

    @property
    def ok(self) -> bool:
        return self.target is None or self.reached <= self.target


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the line with the least squares of relative errors: each decade counts alike.

    A value of 0 is one that is not longer than what a mark costs, and says nothing.
    """
    x, y = zip(*((a, b) for a, b in zip(x, y, strict=True) if b > 0), strict=True)
    weights = [1 / value**2 for value in y]
    total = sum(weights)
    mean_x = sum(w * a for w, a in zip(weights, x, strict=True)) / total
    mean_y = sum(w * b for w, b in zip(weights, y, strict=True)) / total
    slope = sum(w * (a - mean_x) * (b - mean_y) for w, a, b in zip(weights, x, y, strict=True))
    slope /= sum(w * (a - mean_x) ** 2 for w, a in zip(weights, x, strict=True))
    return slope, mean_y - slope * mean_x


def sleeping(found: dict[str, float]) -> Iterator[Check]:
    for method in ("gpu", "kernel", "eager"):
        error = abs(found[f"{method} slope"] / found["reference"] - 1)
        more = f"intercept {1e6 * found[f'{method} intercept']:.1f} us"
        yield Check("known-answer slope", f"sleep, {method}", 0.02 if method != "eager" else None, error, "%", more)


def by_method(profile: Profile, method: str) -> Latency:
    assert profile.measurement is not None
    found = [latency for latency in profile.measurement.latencies if latency.method == method]
    if not found:
        raise NotMeasured(f"{profile.model}: nothing was measured by {method}. {profile.measurement.notes}")
    return found[0]


def closure(name: str, profile: Profile) -> Check:
    """The sum of the rows against the whole; also without the subtraction of what marks cost."""
    latency = by_method(profile, "gpu")
    whole = latency.whole.p50
    total = whole - unattributed(latency).p50
    marks = 2 * len(latency.layers)
    raw = (total + marks * (latency.overhead or 0.0)) / whole - 1
    note = "; ".join(note for note in latency.notes if "queue" in note or "launch" in note)
    return Check(
        "closure", name, 0.03, abs(total / whole - 1), "%", f"{100 * raw:+.1f} % with marks; {note}".rstrip("; ")
    )


def unattributed(latency: Latency) -> Timing:
    return next(row for row in latency.rest if row.key is Outside.UNATTRIBUTED)


def nesting(name: str, profile: Profile, around: dict[str, float]) -> Check:
    """No child of the model takes longer in the sum of its rows than between two events around it."""
    latency = by_method(profile, "gpu")
    paths = {index: profile.modules[call.module].path for index, call in enumerate(profile.calls)}
    worst, where = -math.inf, ""
    for path, seconds in around.items():
        inside = sum(row.p50 for row in latency.layers if f"{paths[row.key]}.".startswith(f"{path}."))
        if seconds >= LONGER and inside / seconds - 1 > worst:
            worst, where = inside / seconds - 1, path
    return Check("nesting: rows over parent", name, 0.03, worst, "%", where)


def methods(name: str, profile: Profile) -> Iterator[Check]:
    """kernel <= gpu <= eager, and the first two near one another."""
    gpu, kernel, eager = (
        {row.key: row.p50 for row in by_method(profile, method).layers} for method in ("gpu", "kernel", "eager")
    )
    long = [row for row, seconds in gpu.items() if seconds >= LONG and row in kernel]
    if long:
        apart = [abs(gpu[row] - kernel[row]) / gpu[row] for row in long]
        yield Check("gpu against kernel, median", name, 0.05, statistics.median(apart), "%", f"{len(long)} layers")
    wrong = sum(kernel[row] > 1.03 * gpu[row] or gpu[row] > 1.03 * eager[row] for row in long)
    yield Check("kernel <= gpu <= eager, not so", name, None, wrong, "layers", f"of {len(long)}, beyond 3 %")


def repeated(name: str, first: Profile, second: Profile) -> Check:
    """The same layers in two processes."""
    one, other = ({row.key: row.p50 for row in by_method(profile, "gpu").layers} for profile in (first, second))
    apart = sorted(abs(one[row] - other[row]) / one[row] for row in one if one[row] >= LONGER and row in other)
    if not apart:
        return Check("two processes, median", name, 0.03, 0.0, "%", "no layer is long enough")
    return Check("two processes, median", name, 0.03, statistics.median(apart), "%", f"worst {100 * apart[-1]:.1f} %")


def overhead(name: str, profile: Profile) -> Iterator[Check]:
    """What archprof's own marks cost, and how much of the pass that is."""
    for method, target in (("gpu", 3e-6), ("eager", None)):
        latency = by_method(profile, method)
        each = latency.overhead or 0.0
        share = 2 * len(latency.layers) * each / latency.whole.p50
        yield Check(f"one mark, {method}", name, target, each, "us", f"{100 * share:.1f} % of the pass")


def say_check(check: Check) -> str:
    """Target against reached, on a line."""
    scale = {"%": 100.0, "us": 1e6, "layers": 1.0, "checks": 1.0}[check.unit]
    target = "" if check.target is None else f"{check.target * scale:.1f} {check.unit}"
    verdict = "" if check.target is None else "ok" if check.ok else "NOT REACHED"
    reached = f"{check.reached * scale:.1f} {check.unit}"
    return f"{check.what:<30} {check.subject:<24} {target:>9} {reached:>9}  {verdict:<11} {check.more}".rstrip()


HEAD = f"{'check':<30} {'subject':<24} {'target':>9} {'reached':>9}"
