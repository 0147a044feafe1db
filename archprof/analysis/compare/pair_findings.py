"""Findings about two models: the first of a comparison and each other.

The larger number comes first, for "8.5x the MACs" is easier to see than "0.12x the MACs". Nothing is said of a
number that is a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from archprof.analysis import elapsed, phrases
from archprof.analysis.compare.findings import Finding, WeighedFinding
from archprof.analysis.compare.sequences import AlignedRow
from archprof.analysis.metric import divide
from archprof.analysis.view import ProfileView
from archprof.wording import say_many

NOTABLE_RATIO = 1.25
"""A ratio from which on a difference in memory or receptive field is worth a sentence."""

STEP_WEIGHT = 84
"""Of the best step along a family: less than of who dominates, more than of one cost alone."""

NOTABLE_STAGE_SHARE = 0.3
"""The share of a difference from which on one stage is named for it."""


def are_of_one_kind(views: Sequence[ProfileView]) -> bool:
    """All take images, or none does: pixels and tokens are no stages of each other."""
    return len({view.image_positions is None for view in views}) == 1


def find_dominating(views: Sequence[ProfileView], i: int) -> int | None:
    """A model that spends, holds and errs no more than this one, and less of something; `None` where there is none."""
    return next((j for j, other in enumerate(views) if _is_better(other, views[i])), None)


def _is_better(one: ProfileView, other: ProfileView) -> bool:
    """It spends, holds and errs no more, and less of something."""
    mine, theirs = _read_stakes(one), _read_stakes(other)
    return bool(mine and theirs and mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True)))


def _read_stakes(view: ProfileView) -> tuple[float, ...] | None:
    """MACs, parameters and error, of one published net whose counts are exact."""
    error = view.top5_error
    if error is None or view.is_competition_entry or not _is_exact("macs", view) or not _is_exact("params", view):
        return None
    return view.total.macs, view.total.params, error


def compare_dominated(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Who is no worse than whom in MACs, parameters and error, and better in some; of memory it is said where it is."""
    for i, view in enumerate(views):
        j = find_dominating(views, i)
        if j is not None:
            text = f"{views[j].name} dominates {view.name}: {', '.join(_say_better(views[j], view))}."
            yield WeighedFinding(92, Finding(text, (j, i), ("macs", "params", "top5_error", "act_fp32")))


def _say_better(better: ProfileView, view: ProfileView) -> Iterator[str]:
    for key, word in (("macs", "MACs"), ("params", "parameters")):
        mine, other = getattr(better.total, key), getattr(view.total, key)
        if mine < other:
            yield f"{phrases.say_times(other / mine)} fewer {word}" if mine else f"no {word}"
    points = (view.top5_error or 0) - (better.top5_error or 0)
    if points > 0:
        yield f"{points:.2f} points less top-5 error"
    times = divide(better.total.activation_bytes, view.total.activation_bytes) or 0
    if times > 1 and _is_exact("act_fp32", better, view):
        yield f"though its activations take {phrases.say_times(times)} the memory"


def compare_costs(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """MACs and parameters: the first thing that anybody asks."""
    for models, a, b in _pair_with_first(views):
        large, small, times = _order_by_total(a, b, "macs")
        if _is_better(a, b) or _is_better(b, a):  # which says as much
            continue
        if a.total == b.total and not a.bounds | b.bounds:
            yield WeighedFinding(95, Finding(_say_equal(a, b), models, ("params", "macs", "act_fp32")))
        elif times is None or phrases.are_alike(times, 1) or not _is_exact("macs", a, b):
            yield from _compare_params(models, a, b)
        else:
            both = phrases.say_both(large.total.macs, small.total.macs)
            macs = f"{phrases.say_times(times)} the MACs of {small.name} ({both})"
            text = f"{large.name} spends {macs}{_say_params(large, small)}."
            yield WeighedFinding(80 + min(times, 10) / 2, Finding(text, models, ("macs", "params")))


def _say_equal(a: ProfileView, b: ProfileView) -> str:
    params = phrases.say_count(a.total.params)
    macs = phrases.say_count(a.total.macs)
    size = phrases.say_bytes(a.total.act_fp32)
    cost = f"{params} parameters, {macs} MACs, {size} of activations in float32"
    return f"{b.name} costs exactly what {a.name} does: {cost}."


def _say_params(large: ProfileView, small: ProfileView) -> str:
    """A clause about the parameters of the one with more MACs; nothing where one of them has none."""
    n, other = large.total.params, small.total.params
    if not n or not other:
        return ""
    if n == other:
        return f" with the same number of parameters ({phrases.say_count(n)})"
    if phrases.are_alike(n, other):
        return f" with about the same number of parameters ({phrases.say_both(n, other)})"
    return f" with {phrases.say_times(n / other)} its parameters ({phrases.say_both(n, other)})"


def _compare_params(models: tuple[int, int], a: ProfileView, b: ProfileView) -> Iterator[WeighedFinding]:
    """Parameters alone: the MACs are about the same, or not known."""
    large, small, times = _order_by_total(a, b, "params")
    numbers = f"({phrases.say_both(large.total.params, small.total.params)})"
    macs = ""
    if _is_exact("macs", a, b) and a.total.macs and phrases.are_alike(a.total.macs, b.total.macs):
        macs = f" for {'' if a.total.macs == b.total.macs else 'about '}the same number of MACs"
    if times is not None and not phrases.are_alike(times, 1):
        text = f"{large.name} has {phrases.say_times(times)} the parameters of {small.name} {numbers}{macs}."
        yield WeighedFinding(80 + min(times, 10) / 2, Finding(text, models, ("params", "macs")))
    elif macs:
        text = f"{large.name} has about as many parameters as {small.name} {numbers}{macs}."
        if large.total.params == small.total.params:
            text = f"{b.name} has as many parameters as {a.name} ({phrases.say_count(a.total.params)}){macs}."
        yield WeighedFinding(70, Finding(text, models, ("params", "macs")))


class _Gap(NamedTuple):
    """What a stage adds to the difference in MACs: the MACs of both models there, and the names of their stages."""

    large: int
    small: int
    names: tuple[str, ...]

    @property
    def more(self) -> int:
        return self.large - self.small


def where_macs_differ(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """The stage that adds most to the difference in MACs."""
    if not stages:
        return
    for models, a, b in _pair_with_first(views):
        large, small, _ = _order_by_total(a, b, "macs")
        more = large.total.macs - small.total.macs
        if not _is_exact("macs", a, b) or phrases.are_alike(large.total.macs, small.total.macs):
            continue
        if _list_axes(a).isdisjoint(_list_axes(b)):  # most of one is on maps, and most of the other on tokens
            continue
        gaps = _list_gaps(large, small, models if large is a else models[::-1], stages)
        most = max(gaps, key=lambda gap: gap.more)
        if len(gaps) > 1 and most.more >= NOTABLE_STAGE_SHARE * more:
            yield WeighedFinding(65, Finding(_say_gap(large, small, most, more), models, ("macs",), most.names))


def _list_axes(view: ProfileView) -> set[int]:
    """Of the stages with an even share of the MACs or more: 2 for maps, 1 for sequences."""
    shares = [(stage.macs_share, stage.axes) for stage in view.stages]
    return {axes for share, axes in shares if share * len(shares) >= 1}


def _list_gaps(large: ProfileView, small: ProfileView, at: tuple[int, int], stages: Sequence[AlignedRow]) -> list[_Gap]:
    """What each place adds, all of its stages together: a net may come back to a size. `at` says which is which."""
    found: list[_Gap] = []
    for row in stages:
        pair = (large.stages, row[at[0]]), (small.stages, row[at[1]])
        here, there = (None if i is None else own[i] for own, i in pair)
        names = dict.fromkeys(stage.name for stage in (here, there) if stage)
        gap = _Gap(here.counts.macs if here else 0, there.counts.macs if there else 0, tuple(names))
        for one in [one for one in found if not names.keys().isdisjoint(one.names)]:
            found.remove(one)
            every = tuple(dict.fromkeys((*one.names, *gap.names)))
            gap = _Gap(one.large + gap.large, one.small + gap.small, every)
        found += [gap] if names else []
    return found


def _say_gap(large: ProfileView, small: ProfileView, most: _Gap, more: int) -> str:
    place, rest = phrases.say_place(most.names), most.more - more
    if rest > 0:
        extra = f"{large.name} spends {phrases.say_count(most.more)} MACs more than {small.name} {place}"
        return f"{extra}, and {phrases.say_count(rest)} fewer in the rest of the net."
    parts = (
        f"{phrases.say_percent(most.more / more)} of the MACs that {large.name} spends beyond {small.name} are spent"
    )
    return f"{parts} {place}: {phrases.say_both(most.large, most.small)}."


def compare_fields(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Who sees more, or who sees as much with fewer parameters."""
    for models, a, b in _pair_with_first(views):
        large, small, times = _order_by_total(a, b, "params")
        if not (_slides(a) and _slides(b) and a.reach and b.reach and _is_exact("field", a, b)):
            continue
        wide, narrow = (a, b) if a.reach > b.reach else (b, a)
        if max(a.reach, b.reach) >= NOTABLE_RATIO * min(a.reach, b.reach):
            seen = f"{wide.name} sees {wide.reach:,} pixels along a side before all are mixed"
            text = f"{seen}, {narrow.name} {narrow.reach:,}."
            yield WeighedFinding(35, Finding(text, models, ("field",)))
        elif a.reach == b.reach and times is not None and not phrases.are_alike(times, 1):
            share = phrases.say_percent(small.total.params / large.total.params)
            seen = f"{small.name} sees as far as {large.name}, {small.reach:,} pixels along a side"
            text = f"{seen}, with {share} of its parameters."
            yield WeighedFinding(75, Finding(text, models, ("field", "params")))


def _slides(view: ProfileView) -> bool:
    """Windows show it more than a pixel: else nothing is said of how far it sees."""
    return view.is_convolutional and view.reach is not None


def compare_errors(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """What the published error costs; one net is not set against an entry that averages several."""
    step = _find_best_step(views)
    pairs = [(models, a, b, 60) for models, a, b in _pair_with_first(views)]
    if step and 0 not in step:
        pairs.append((step, views[step[0]], views[step[1]], STEP_WEIGHT))
    for models, a, b, weight in pairs:
        if (
            a.top5_error is None
            or b.top5_error is None
            or a.top5_error == b.top5_error
            or a.is_competition_entry != b.is_competition_entry
        ):
            continue
        better, worse = (a, b) if a.top5_error < b.top5_error else (b, a)
        errors = f"a top-5 error of {better.top5_error:.2f}% against {worse.top5_error:.2f}% of {worse.name}"
        text = f"{better.name} was published with {errors}{_say_macs(better, worse)}."
        yield WeighedFinding(weight, Finding(text, models, ("top5_error", "macs")))


def _find_best_step(views: Sequence[ProfileView]) -> tuple[int, int] | None:
    """Of nets that none dominates, by their MACs: the two neighbours of which the larger errs less for least work."""
    stakes = {i: own for i, view in enumerate(views) if (own := _read_stakes(view)) and own[0]}
    front = sorted((i for i in stakes if find_dominating(views, i) is None), key=lambda i: stakes[i][0])
    gains = {(i, j): (stakes[i][2] - stakes[j][2]) / math.log(stakes[j][0] / stakes[i][0])
             for i, j in pairwise(front) if stakes[j][0] > stakes[i][0]}  # fmt: skip
    return max(gains, key=lambda pair: gains[pair], default=None)


def compare_depths(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Who is deeper; it weighs more where that costs less."""
    for models, a, b in _pair_with_first(views):
        if not a.depth or not b.depth or not _is_exact("depth", a, b):
            continue
        deep, flat = (a, b) if a.depth > b.depth else (b, a)
        layers = say_many(deep.depth, "weight layer")
        if a.depth == b.depth:
            yield WeighedFinding(30, Finding(f"{b.name} is as deep as {a.name}: {layers}.", models, ("depth",)))
            continue
        text = f"{deep.name} is {layers} deep against {flat.depth} of {flat.name}{_say_macs(deep, flat)}."
        surprising = deep.total.macs < flat.total.macs
        yield WeighedFinding(62 if surprising else 45, Finding(text, models, ("depth", "macs")))


def compare_memory(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Whose activations take more; it need not be the one that works more."""
    for models, a, b in _pair_with_first(views):
        large, small, times = _order_by_total(a, b, "activation_bytes")
        if times is None or times < NOTABLE_RATIO or not _is_exact("act_fp32", a, b):
            continue
        sizes = " against ".join(f"{phrases.say_bytes(one.total.activation_bytes)}" for one in (large, small))
        sizes += f" in {phrases.join_words(list(dict.fromkeys(one.profile.dtype for one in (large, small))))}"
        ratio = f"{phrases.say_times(times)} the memory of those of {small.name} ({sizes})"
        fewer = _is_exact("macs", a, b) and large.total.macs < small.total.macs
        text = f"The activations of {large.name} take {ratio}{', though it spends fewer MACs' if fewer else ''}."
        yield WeighedFinding(50 + min(times, 10) / 2, Finding(text, models, ("act_fp32",)))


def compare_times(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Who takes longer, beside what the MACs say; no more than the intervals allow."""
    if not elapsed.are_comparable([view.profile for view in views]):
        return
    for models, a, b in _pair_with_first(views):
        slow, fast = (a, b) if _read_seconds(a) > _read_seconds(b) else (b, a)
        if not slow.time or not fast.time:
            continue
        if slow.time.low <= fast.time.high:
            slower = elapsed.show_with_interval(slow.time)
            text = f"{slow.name} and {fast.name} cannot be told apart in time: {slower} and "
            yield WeighedFinding(72, Finding(f"{text}{elapsed.show_with_interval(fast.time)}.", models, ("latency",)))
            continue
        both = " against ".join(map(elapsed.show_with_interval, (slow.time, fast.time)))
        if not (slow.time.stable and fast.time.stable):
            text = f"{slow.name} takes longer than {fast.name} ({both}); unstable, so that by how much is not known."
            yield WeighedFinding(72, Finding(text, models, ("latency",)))
            continue
        ratio = f"{phrases.say_times(slow.time.seconds / fast.time.seconds)} the time of {fast.name}"
        text = f"{slow.name} takes {ratio} ({both})"
        yield WeighedFinding(82, Finding(f"{text}{_say_macs(slow, fast)}.", models, ("latency", "macs")))


def _read_seconds(view: ProfileView) -> float:
    return view.time.seconds if view.time else 0.0


def _say_macs(subject: ProfileView, other: ProfileView) -> str:
    """What the one pays in MACs beside the other: ", for 8.53x the MACs"; nothing where that is not known."""
    n, against = subject.total.macs, other.total.macs
    if not _is_exact("macs", subject, other) or not n or not against:
        return ""
    if phrases.are_alike(n, against):
        return f", for {'' if n == against else 'about '}the same number of MACs"
    return f", for {phrases.say_times(n / against)} the MACs"


def _pair_with_first(views: Sequence[ProfileView]) -> Iterator[tuple[tuple[int, int], ProfileView, ProfileView]]:
    """The first model and each other that takes what it takes, pixels or none, with their positions."""
    for i, other in enumerate(views[1:], 1):
        if are_of_one_kind((views[0], other)):
            yield (0, i), views[0], other


def _order_by_total(a: ProfileView, b: ProfileView, key: str) -> tuple[ProfileView, ProfileView, float | None]:
    """The one with the larger total, the other, and how many times as large; `None` where the smaller has nothing."""
    large, small = sorted((a, b), key=lambda view: -getattr(view.total, key))
    less = getattr(small.total, key)
    return large, small, getattr(large.total, key) / less if less else None


def _is_exact(key: str, *views: ProfileView) -> bool:
    return not any(key in view.bounds for view in views)
