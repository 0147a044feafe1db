"""What was measured, as sums: of a row, of the rows of a kind, of the model; one method at a time, never mixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from archprof import units
from archprof.analysis.ran_words import describe_threads
from archprof.facts.measured import MAX_SPREAD, MIN_STABLE_ROUNDS, Latency, Measurement, Timing
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.analysis.predicted import PredictedTime

NOTHING_MEASURED = "Interrupted before anything was measured."

METHOD_MEANINGS = {
    "cpu": "wall clock at the borders of each {part}, the cost of the marks taken off",
    "eager": "GPU events at the borders of each {part}, as a user runs it: launch gaps are in it",
    "gpu": "GPU time at the borders of each {part}, in context, launch gaps removed",
    "kernel": "GPU kernels of each {part} by the profiler, summed",
}
"""What each number is, in words; a part is a call, or a kernel of compiled code."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Seconds of one row, or the sum over several.

    Attributes:
        seconds: median of the medians of the rounds; of a sum, the sum of these, so that rows add up.
        rounds: the median of each round; of a sum, what its rows took together in that round.
        least: the smallest sample, summed.
        resolution: less than this cannot be told from what the marks cost.
    """

    seconds: float = 0.0
    rounds: tuple[float, ...] = ()
    least: float = 0.0
    resolution: float = 0.0

    def __add__(self, other: Elapsed) -> Elapsed:
        rounds = tuple(a + b for a, b in zip_longest(self.rounds, other.rounds, fillvalue=0.0))
        return Elapsed(
            self.seconds + other.seconds, rounds, self.least + other.least, self.resolution + other.resolution
        )

    def __radd__(self, zero: int) -> Elapsed:
        """So that `sum` can start from nothing."""
        return self

    def __bool__(self) -> bool:
        return bool(self.seconds)

    @property
    def low(self) -> float:
        """The least of the rounds; never above `seconds`."""
        return min(self.seconds, *self.rounds) if self.rounds else self.seconds

    @property
    def high(self) -> float:
        """The greatest of the rounds; never below `seconds`."""
        return max(self.seconds, *self.rounds) if self.rounds else self.seconds

    @property
    def half_interval(self) -> float:
        """Half the interval: no digit of `seconds` below it says anything."""
        return (self.high - self.low) / 2

    @property
    def below_resolution(self) -> bool:
        """It is less than can be told."""
        return 0 < self.resolution > self.seconds

    @property
    def stable(self) -> bool:
        """There are rounds enough to see that they lie within 10 % of one another."""
        return len(self.rounds) >= MIN_STABLE_ROUNDS and self.high <= MAX_SPREAD * self.low


def mark_times(times: Mapping[str, Elapsed | PredictedTime | None]) -> tuple[dict[str, float], dict[str, float]]:
    """How sure times are, given by column key: `half_intervals` and `below_resolution` of their `Row`."""
    known = {key: one for key, one in times.items() if one is not None}
    within = {key: one.half_interval for key, one in known.items() if one.half_interval}
    return within, {key: one.resolution for key, one in known.items() if one.below_resolution}


def convert_timing(timing: Timing, resolution: float = 0.0) -> Elapsed:
    """The sum of one."""
    return Elapsed(timing.p50, timing.medians, timing.least, resolution)


def find_latency(profile: Profile, method: str = "") -> Latency | None:
    """What one method found; left out: the headline. `None` where it was not measured."""
    if profile.measurement is None:
        return None
    found = (one for one in profile.measurement.latencies if method in ("", one.method))
    return next(found, None)


def collect_row_times(profile: Profile, method: str = "") -> Sequence[Elapsed | None]:
    """What each row's own work took, in the order of `Profile.layers`; nothing where none was timed.

    `None` for all rows where the method was not used, or timed the whole alone.
    """
    latency = find_latency(profile, method)
    if latency is None or not latency.layers:
        return [None] * len(profile.layers)
    timed = {one.key: convert_timing(one, latency.resolution) for one in latency.layers}
    return [timed.get(row.call_index, Elapsed()) if row.call_index is not None else Elapsed() for row in profile.layers]


def collect_outside_times(profile: Profile, method: str = "") -> dict[RowKey, Elapsed]:
    """What belongs to no call; it closes the sum."""
    latency = find_latency(profile, method)
    return {one.key: convert_timing(one) for one in latency.rest} if latency else {}


def find_model_time(profile: Profile, method: str = "") -> Elapsed | None:
    """What the model takes, measured without marks: the truth that the sum of the rows is held against."""
    latency = find_latency(profile, method)
    return convert_timing(latency.whole) if latency else None


def compute_gap(profile: Profile) -> float | None:
    """How far the sum of all rows but the unattributed is above the whole (below: negative), as a share of it."""
    latency, truth = find_latency(profile), find_model_time(profile)
    if latency is None or not latency.layers or not truth:
        return None
    return sum_attributed(latency) / truth.seconds - 1


def sum_attributed(latency: Latency) -> float:
    """Seconds that have a row: of a layer, or between or outside the layers."""
    return sum(one.p50 for one in (*latency.layers, *latency.rest) if one.key is not Outside.UNATTRIBUTED)


def count_kernels(profile: Profile) -> dict[RowKey | None, int] | None:
    """GPU kernels in a pass, by what they ran for; `None` where no profiler counted them, or rows share them."""
    latency = find_latency(profile, "kernel")
    if latency is None or latency.attributed:
        return None
    return {key: sum(kernel.count for kernel in found) for key, found in latency.kernels.items()}


def are_comparable(profiles: Sequence[Profile]) -> bool:
    """All were measured, by one method on one device: only then is a ratio of their times about the models."""
    ways = set(map(_comparison_key, profiles))
    return len(ways) == 1 and None not in ways


def _comparison_key(profile: Profile) -> tuple[str, str, int | None, bool] | None:
    """What a time depends on beside the model: device, method, threads, and whether the model was compiled."""
    measurement, latency = profile.measurement, find_latency(profile)
    if measurement is None or latency is None:
        return None
    ran = measurement.ran
    return ran.device_name, latency.method, ran.threads, bool(ran.compiled)


def describe_measurement(profile: Profile) -> Iterator[str]:
    """How it was measured, how well the rows add up, and what a reader must know to trust it."""
    latency = find_latency(profile)
    if latency is not None:
        yield from _closure(profile, latency)
    yield from describe_method(profile)


def describe_method(profile: Profile) -> Iterator[str]:
    """How it was measured, on what, with which reservations; nothing about single rows."""
    measurement, latency = profile.measurement, find_latency(profile)
    if measurement is None:
        return
    if measurement.interrupted:
        yield "Interrupted: these numbers are of what was measured until then." if latency else NOTHING_MEASURED
    if latency is not None:
        yield f"{device_words(measurement, latency)}; {_schedule_words(measurement, latency)}."
        yield from latency.notes
    for other in measurement.latencies[1:]:
        yield f"{other.method}: {_method_words(other)}; the whole {show_with_interval(convert_timing(other.whole))}."
        yield from other.notes
    yield from measurement.notes


def device_words(measurement: Measurement, latency: Latency) -> str:
    """On what, and by which method."""
    threads = "" if measurement.ran.threads is None else f", threads: {describe_threads(measurement.ran)}"
    device = f"{measurement.device_title}{threads}"
    return f"Latency on {device}: {_method_words(latency)}"


def _method_words(latency: Latency) -> str:
    """What its numbers are."""
    return METHOD_MEANINGS[latency.method].format(part="compiled kernel" if latency.attributed else "call")


def _schedule_words(measurement: Measurement, latency: Latency) -> str:
    """How often, after how much warming up."""
    rounds, samples = len(latency.whole.rounds), latency.whole.samples
    warm = f"{measurement.warmup_passes} passes to warm up"
    if measurement.first_call_seconds is not None:
        warm += f", the first {units.show_quantity(measurement.first_call_seconds, 'seconds')}"
    return f"median of {rounds} rounds ({samples} passes), [low, high] holds every round; {warm}"


def _closure(profile: Profile, latency: Latency) -> Iterator[str]:
    truth, short = find_model_time(profile), compute_gap(profile)
    if truth is not None and short is not None:
        rows = units.show_quantity(sum_attributed(latency), "seconds")
        whole = show_with_interval(truth)
        yield f"Sum of the rows {rows}, the whole model without marks {whole}: gap {100 * short:+.1f}%."
    elif truth is not None:
        yield f"The rows were not timed; the whole model takes {show_with_interval(truth)}."


def show_with_interval(elapsed: Elapsed | PredictedTime) -> str:
    """Value and interval with one prefix, cut to the digits that say something: `12.3 [12.1, 12.6] ms`.

    Of one round there is no interval.
    """
    if isinstance(elapsed, Elapsed) and len(elapsed.rounds) == 1:
        return f"{units.show_quantity(elapsed.seconds, 'seconds')} (one round)"
    scale = units.choose_unit_scale([elapsed.high], "seconds")
    return f"{scale.format(elapsed.seconds, elapsed.half_interval)} {show_interval(elapsed)}"


def show_interval(elapsed: Elapsed | PredictedTime) -> str:
    """The least and greatest of the rounds: `[12.1, 12.6] ms`."""
    scale = units.choose_unit_scale([elapsed.high], "seconds")
    low, high = (scale.format(one, elapsed.half_interval) for one in (elapsed.low, elapsed.high))
    return f"[{low}, {high}] {scale.symbol}"
