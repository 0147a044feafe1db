"""From samples to a latency: rows in the order of the profile, what closes the sum, and what to be wary of."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.facts.measured import Latency, Timing
from archprof.facts.records import Profile
from archprof.measuring.boundaries import Rows
from archprof.measuring.protocols import UNATTRIBUTED, WHOLE, Row, Sample, Way
from archprof.measuring.schedule import Plan
from archprof.units import show_quantity

ENOUGH = 3
"""Rounds below which nobody can say that they agree."""

Rounds = Sequence[Sequence[Sample]]

TRUSTED = 3
"""A row that takes less than so many marks is within the error of what marks cost."""


def latency(way: Way, whole: Rounds, rows: Rounds | None, profile: Profile, plan: Plan) -> Latency | None:
    """The latency that one way found; `None` when it was stopped before there was a sample of everything.

    Args:
        whole, rows: the samples of `way.whole` and of `way.rows`, by round.
    """
    rounds = len(whole) if rows is None else min(len(whole), len(rows))
    if not rounds:
        return None
    truth = _timing(WHOLE, whole[:rounds])
    layers, rest = _rows(rows[:rounds], truth, profile) if rows is not None else ((), ())
    notes = (
        *way.notes,
        *(_missing(layers, profile) if rows is not None else ()),
        *_doubts(truth, () if way.attributed else layers, way.overhead, plan),
    )
    return Latency(way.method, layers, rest, truth, way.overhead, dict(way.kernels), notes, way.attributed)


def _rows(rounds: Rounds, whole: Timing, profile: Profile) -> tuple[tuple[Timing, ...], tuple[Timing, ...]]:
    """The rows that ran as layers of the profile, and the rest."""
    seen = dict.fromkeys(row for samples in rounds for sample in samples for row in sample)
    called = Rows(profile).called
    layers = tuple(_timing(row, rounds) for row in called if row in seen)
    rest = tuple(_timing(row, rounds) for row in seen if row not in set(called))
    return layers, (*rest, _unattributed(whole, (*layers, *rest)))


def _timing(row: Row, rounds: Rounds) -> Timing:
    return Timing(*row, tuple(tuple(sample.get(row, 0.0) for sample in samples) for samples in rounds))


def _unattributed(whole: Timing, rows: Sequence[Timing]) -> Timing:
    """What the rows leave of the whole, one sample a round; below zero where their sum is more."""
    sums = (sum(medians) for medians in zip(*(row.medians for row in rows), strict=True))
    return Timing(*UNATTRIBUTED, tuple((truth - total,) for truth, total in zip(whole.medians, sums, strict=True)))


def _missing(layers: Sequence[Timing], profile: Profile) -> list[str]:
    """Rows that the trace saw called and the real passes did not."""
    ran = {timing[:2] for timing in layers}
    missing = [path for path, call in Rows(profile).called if (path, call) not in ran]
    return [f"{len(missing)} rows did not run in the real passes, the first is {missing[0]}."] if missing else []


def _doubts(whole: Timing, layers: Sequence[Timing], overhead: float | None, plan: Plan) -> list[str]:
    """What makes these numbers less sure than they look."""
    doubts, rounds = [], len(whole.rounds)
    if rounds < ENOUGH:
        doubts.append(f"unstable: {rounds} of {plan.rounds} rounds were measured, too few to see whether they agree.")
    elif not whole.stable:
        low, high = show_quantity(whole.low, "seconds"), show_quantity(whole.high, "seconds")
        doubts.append(f"unstable: the rounds of the whole model lie between {low} and {high}, more than 10% apart.")
    if ENOUGH <= rounds < plan.rounds:
        doubts.append(f"{rounds} of {plan.rounds} rounds were measured: the interval is less sure.")
    least = TRUSTED * (overhead or 0.0)
    if small := sum(row.p50 < least for row in layers):
        mark = f"{show_quantity(least, 'seconds')}, {TRUSTED} times what a mark costs"
        doubts.append(f"{small} rows take less than {mark}: only that is known of them.")
    return doubts
