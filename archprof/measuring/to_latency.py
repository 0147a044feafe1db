"""From samples to a latency: rows in the order of the profile, what closes the sum, and what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

from archprof.facts.measured import RESOLUTION_IN_MARKS, Latency, Timing
from archprof.facts.overlays import Outside
from archprof.facts.overlays import RowKey as OverlayKey
from archprof.facts.records import Profile
from archprof.measuring.protocols import MeasuredWay, RowKey, Sample, number_rows
from archprof.measuring.schedule import SamplingPlan
from archprof.units import show_quantity

MIN_ROUNDS = 3
"""Rounds below which nobody can say that they agree."""

SampleRounds = Sequence[Sequence[Sample]]


def build_latency(
    way: MeasuredWay, whole: SampleRounds, rows: SampleRounds | None, profile: Profile, plan: SamplingPlan
) -> Latency | None:
    """The latency that one way found; `None` when it was stopped before there was a sample of everything.

    Args:
        whole, rows: the samples of `way.whole` and of `way.rows`, by round.
    """
    rounds = len(whole) if rows is None else min(len(whole), len(rows))
    if not rounds:
        return None
    keys = number_rows(profile)
    truth = Timing(Outside.WHOLE, _collect_samples(Outside.WHOLE, whole[:rounds]))
    layers, rest = _split_rows(rows[:rounds], truth, keys) if rows is not None else ((), ())
    notes = (
        *way.notes,
        *(_describe_missing(layers, profile) if rows is not None else ()),
        *_describe_doubts(truth, () if way.attributed else layers, way.overhead, plan),
    )
    kernels = {keys[row]: found for row, found in way.kernels.items()}
    return Latency(way.method, layers, rest, truth, way.overhead, kernels, notes, way.attributed)


def _split_rows(
    rounds: SampleRounds, whole: Timing, keys: Mapping[RowKey, OverlayKey]
) -> tuple[tuple[Timing, ...], tuple[Timing, ...]]:
    """The rows that are calls, in order, and the rest."""
    seen = dict.fromkeys(row for samples in rounds for sample in samples for row in sample)
    timings = [Timing(keys[row], _collect_samples(row, rounds)) for row in seen]
    layers = tuple(sorted((one for one in timings if isinstance(one.key, int)), key=itemgetter(0)))
    rest = tuple(one for one in timings if not isinstance(one.key, int))
    return layers, (*rest, _make_unattributed(whole, (*layers, *rest)))


def _collect_samples(row: RowKey, rounds: SampleRounds) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(sample.get(row, 0.0) for sample in samples) for samples in rounds)


def _make_unattributed(whole: Timing, rows: Sequence[Timing]) -> Timing:
    """What the rows leave of the whole, one sample per round; below zero where their sum is more."""
    sums = (sum(medians) for medians in zip(*(row.medians for row in rows), strict=True))
    return Timing(
        Outside.UNATTRIBUTED, tuple((truth - total,) for truth, total in zip(whole.medians, sums, strict=True))
    )


def _describe_missing(layers: Sequence[Timing], profile: Profile) -> list[str]:
    """Rows that the trace saw called and the real passes did not."""
    ran = {timing.key for timing in layers}
    missing = [row.path for row in profile.layers if row.call_index is not None and row.call_index not in ran]
    return [f"{len(missing)} rows did not run in the real passes, the first is {missing[0]}."] if missing else []


def _describe_doubts(whole: Timing, layers: Sequence[Timing], overhead: float | None, plan: SamplingPlan) -> list[str]:
    """What makes these numbers less sure than they look."""
    doubts, rounds = [], len(whole.rounds)
    if rounds < MIN_ROUNDS:
        doubts.append(f"unstable: {rounds} of {plan.rounds} rounds were measured, too few to see whether they agree.")
    elif not whole.stable:
        low, high = show_quantity(whole.low, "seconds"), show_quantity(whole.high, "seconds")
        doubts.append(f"unstable: the rounds of the whole model lie between {low} and {high}, more than 10% apart.")
    if MIN_ROUNDS <= rounds < plan.rounds:
        doubts.append(f"{rounds} of {plan.rounds} rounds were measured: the interval is less sure.")
    least = RESOLUTION_IN_MARKS * (overhead or 0.0)
    if small := sum(row.p50 < least for row in layers):
        mark = f"{show_quantity(least, 'seconds')}, {RESOLUTION_IN_MARKS} times what a mark costs"
        doubts.append(f"{small} rows take less than {mark}: only that is known of them.")
    return doubts
