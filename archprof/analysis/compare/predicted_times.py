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
        a, b = find_predicted_time(first), find_predicted_time(view)
        prediction = view.profile.prediction
        if not a or not b or prediction is None:
            continue
        (slow, longer), (fast, shorter) = sorted([(a, first), (b, view)], key=lambda each: -each[0].seconds)
        times = " against ".join(map(elapsed.show_with_interval, (slow, fast)))
        both = f"{times}, predicted on {prediction.device}"
        if slow.low <= fast.high:
            text = f"{longer.name} and {shorter.name} cannot be told apart in predicted time: {both}."
        else:
            ratio = phrases.say_times(slow.seconds / fast.seconds)
            text = f"{longer.name} should take {ratio} the time of {shorter.name}: {both}."
        yield WeighedFinding(70, Finding(text, (0, place), ("predicted",)))
