"""Predicted times of several models beside each other: only of one device, run in one way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archprof.analysis import elapsed, phrases
from archprof.analysis.compare.findings import Finding, WeighedFinding
from archprof.analysis.compare.sequences import AlignedRow
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.view import ProfileView
from archprof.facts.records import Profile


def are_alike_predicted(profiles: Sequence[Profile]) -> bool:
    """All were predicted, on one device in one way: only then is a ratio of their times about the models."""
    found = [profile.prediction for profile in profiles]
    ways = {one and (one.device, one.standing, one.eager, one.compiled, one.channels_last, one.tf32) for one in found}
    return len(ways) == 1 and None not in ways


def find_predicted_time(view: ProfileView) -> PredictedTime | None:
    """Of the whole pass, with its interval."""
    found = view.profile.prediction
    return PredictedTime(*found.whole, whole=found.whole) if found else None


def compare_predicted_times(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Who should take longer than the first; no ratio where their intervals meet."""
    if not are_alike_predicted([view.profile for view in views]):
        return
    first = views[0]
    for place, view in enumerate(views[1:], 1):
        if finding := _compare_two(first, view):
            yield WeighedFinding(70, Finding(finding, (0, place), ("predicted",)))


def _compare_two(first: ProfileView, other: ProfileView) -> str | None:
    """A lower bound may be any time above it, so that only the longer one may be one."""
    a, b, prediction = find_predicted_time(first), find_predicted_time(other), first.profile.prediction
    if not a or not b or prediction is None:
        return None
    (slow, longer), (fast, shorter) = sorted([(a, first), (b, other)], key=lambda each: -each[0].seconds)
    both = f"{_show(slow, longer)} against {_show(fast, shorter)}, predicted on {prediction.device}"
    if slow.low <= fast.high or not _is_complete(shorter):
        return f"{longer.name} and {shorter.name} cannot be told apart in predicted time: {both}."
    ratio = phrases.say_times(slow.seconds / fast.seconds)
    least = "" if _is_complete(longer) else "at least "
    return f"{longer.name} should take {least}{ratio} the time of {shorter.name}: {both}."


def _is_complete(view: ProfileView) -> bool:
    return view.profile.prediction is not None and view.profile.prediction.complete


def _show(time: PredictedTime, view: ProfileView) -> str:
    """`7.1 [5.2, 9.8] ms`, "at least" where not all was counted."""
    return f"{'' if _is_complete(view) else 'at least '}{elapsed.show_with_interval(time)}"
