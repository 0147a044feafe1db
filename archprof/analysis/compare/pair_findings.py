"""Findings about two models: the first of a comparison and each other.

The larger number comes first, for "8.5x the MACs" is easier to see than "0.12x the MACs". Nothing is said of a
number that is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from archprof.analysis import elapsed, phrases
from archprof.analysis.compare.align import Beside
from archprof.analysis.compare.findings import Facts, Finding, Weighed

WORTH = 1.25
"""A ratio from which on a difference in memory or receptive field is worth a sentence."""

WHERE = 0.3
"""The share of a difference from which on one stage is named for it."""


def cost(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """MACs and parameters: the first thing that anybody asks."""
    for models, a, b in _pairs(facts):
        large, small, times = _larger(a, b, "macs")
        if a.total == b.total and not a.bounds | b.bounds:
            yield Weighed(95, Finding(_equal(a, b), models, ("params", "macs", "act_fp32")))
        elif times is None or phrases.alike(times, 1) or not _exact("macs", a, b):
            yield from _params(models, a, b)
        else:
            macs = (
                f"{phrases.times(times)} the MACs of {small.name} ({phrases.both(large.total.macs, small.total.macs)})"
            )
            text = f"{large.name} spends {macs}{_with_params(large, small)}."
            yield Weighed(80 + min(times, 10) / 2, Finding(text, models, ("macs", "params")))


def _equal(a: Facts, b: Facts) -> str:
    params, macs, size = phrases.count(a.total.params), phrases.count(a.total.macs), phrases.size(a.total.act_fp32)
    cost = f"{params} parameters, {macs} MACs, {size} of activations in float32"
    return f"{b.name} costs exactly what {a.name} does: {cost}."


def _with_params(large: Facts, small: Facts) -> str:
    """A clause about the parameters of the one with more MACs; nothing where one of them has none."""
    n, other = large.total.params, small.total.params
    if not n or not other:
        return ""
    if n == other:
        return f" with the same number of parameters ({phrases.count(n)})"
    if phrases.alike(n, other):
        return f" with about the same number of parameters ({phrases.both(n, other)})"
    return f" with {phrases.times(n / other)} its parameters ({phrases.both(n, other)})"


def _params(models: tuple[int, int], a: Facts, b: Facts) -> Iterator[Weighed]:
    """Parameters alone: the MACs are about the same, or not known."""
    large, small, times = _larger(a, b, "params")
    numbers = f"({phrases.both(large.total.params, small.total.params)})"
    macs = ""
    if _exact("macs", a, b) and a.total.macs and phrases.alike(a.total.macs, b.total.macs):
        macs = f" for {'' if a.total.macs == b.total.macs else 'about '}the same number of MACs"
    if times is not None and not phrases.alike(times, 1):
        text = f"{large.name} has {phrases.times(times)} the parameters of {small.name} {numbers}{macs}."
        yield Weighed(80 + min(times, 10) / 2, Finding(text, models, ("params", "macs")))
    elif macs:
        text = f"{large.name} has about as many parameters as {small.name} {numbers}{macs}."
        if large.total.params == small.total.params:
            text = f"{b.name} has as many parameters as {a.name} ({phrases.count(a.total.params)}){macs}."
        yield Weighed(70, Finding(text, models, ("params", "macs")))


class _Gap(NamedTuple):
    """What a stage adds to the difference in MACs: the MACs of both models there, and the names of their stages."""

    large: int
    small: int
    names: tuple[str, ...]

    @property
    def more(self) -> int:
        return self.large - self.small


def where(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """The stage that adds most to the difference in MACs."""
    for models, a, b in _pairs(facts):
        large, small, _ = _larger(a, b, "macs")
        more = large.total.macs - small.total.macs
        if not _exact("macs", a, b) or phrases.alike(large.total.macs, small.total.macs):
            continue
        gaps = [gap for gap in _gaps(large, small, models if large is a else models[::-1], stages) if gap.names]
        most = max(gaps, key=lambda gap: gap.more)
        if len(gaps) > 1 and most.more >= WHERE * more:
            yield Weighed(65, Finding(_said(large, small, most, more), models, ("macs",), most.names))


def _gaps(large: Facts, small: Facts, at: tuple[int, int], stages: Sequence[Beside]) -> Iterator[_Gap]:
    """What each row of stages adds; `at` says which model is which."""
    for row in stages:
        pair = (large.side.stages, row[at[0]]), (small.side.stages, row[at[1]])
        here, there = (None if i is None else own[i] for own, i in pair)
        names = dict.fromkeys(stage.name for stage in (here, there) if stage)
        yield _Gap(here.counts.macs if here else 0, there.counts.macs if there else 0, tuple(names))


def _said(large: Facts, small: Facts, most: _Gap, more: int) -> str:
    place, rest = phrases.place(most.names), most.more - more
    if rest > 0:
        extra = f"{large.name} spends {phrases.count(most.more)} MACs more than {small.name} {place}"
        return f"{extra}, and {phrases.count(rest)} fewer in the rest of the net."
    parts = f"{phrases.percent(most.more / more)} of the MACs that {large.name} spends beyond {small.name} are spent"
    return f"{parts} {place}: {phrases.both(most.large, most.small)}."


def field(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """Who sees more, or who sees as much with fewer parameters."""
    for models, a, b in _pairs(facts):
        large, small, times = _larger(a, b, "params")
        if a.field is None or b.field is None or not _exact("field", a, b):
            continue
        wide, narrow = (a, b) if a.field > b.field else (b, a)
        if max(a.field, b.field) >= WORTH * min(a.field, b.field):
            text = (
                f"{wide.name} sees {_pixels(wide)} along a side before all are mixed, {narrow.name} {narrow.field:,}."
            )
            yield Weighed(35, Finding(text, models, ("field",)))
        elif a.field == b.field and times is not None and not phrases.alike(times, 1):
            share = phrases.percent(small.total.params / large.total.params)
            seen = f"{small.name} sees as far as {large.name}, {_pixels(small)} along a side"
            text = f"{seen}, with {share} of its parameters."
            yield Weighed(75, Finding(text, models, ("field", "params")))


def _pixels(fact: Facts) -> str:
    return "1 pixel" if fact.field == 1 else f"{fact.field:,} pixels"


def error(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """What the published error costs; one net is not set against an entry that averages several."""
    for models, a, b in _pairs(facts):
        if a.error is None or b.error is None or a.error == b.error or a.competed != b.competed:
            continue
        better, worse = (a, b) if a.error < b.error else (b, a)
        errors = f"a top-5 error of {better.error:.2f}% against {worse.error:.2f}% of {worse.name}"
        text = f"{better.name} was published with {errors}{_for_macs(better, worse)}."
        yield Weighed(60, Finding(text, models, ("top5_error", "macs")))


def depth(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """Who is deeper; it weighs more where that costs less."""
    for models, a, b in _pairs(facts):
        if not a.depth or not b.depth or not _exact("depth", a, b):
            continue
        deep, flat = (a, b) if a.depth > b.depth else (b, a)
        layers = f"{deep.depth} weight layer{'s' if deep.depth > 1 else ''}"
        if a.depth == b.depth:
            yield Weighed(30, Finding(f"{b.name} is as deep as {a.name}: {layers}.", models, ("depth",)))
            continue
        text = f"{deep.name} is {layers} deep against {flat.depth} of {flat.name}{_for_macs(deep, flat)}."
        surprising = deep.total.macs < flat.total.macs
        yield Weighed(62 if surprising else 45, Finding(text, models, ("depth", "macs")))


def memory(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """Whose activations take more; it need not be the one that works more."""
    for models, a, b in _pairs(facts):
        large, small, times = _larger(a, b, "act_fp32")
        if times is None or times < WORTH or not _exact("act_fp32", a, b):
            continue
        sizes = f"{phrases.size(large.total.act_fp32)} against {phrases.size(small.total.act_fp32)} in float32"
        ratio = f"{phrases.times(times)} the memory of those of {small.name} ({sizes})"
        fewer = _exact("macs", a, b) and large.total.macs < small.total.macs
        text = f"The activations of {large.name} take {ratio}{', though it spends fewer MACs' if fewer else ''}."
        yield Weighed(50 + min(times, 10) / 2, Finding(text, models, ("act_fp32",)))


def time(facts: Sequence[Facts], stages: Sequence[Beside]) -> Iterator[Weighed]:
    """Who takes longer, beside what the MACs say; no more than the intervals allow."""
    if not elapsed.comparable([fact.side.profile for fact in facts]):
        return
    for models, a, b in _pairs(facts):
        slow, fast = (a, b) if _seconds(a) > _seconds(b) else (b, a)
        if not slow.time or not fast.time:
            continue
        if slow.time.low <= fast.time.high:
            text = f"{slow.name} and {fast.name} cannot be told apart in time: {elapsed.shown(slow.time)} and "
            yield Weighed(72, Finding(f"{text}{elapsed.shown(fast.time)}.", models, ("latency",)))
            continue
        ratio = f"{phrases.times(slow.time.seconds / fast.time.seconds)} the time of {fast.name}"
        text = f"{slow.name} takes {ratio} ({elapsed.shown(slow.time)} against {elapsed.shown(fast.time)})"
        yield Weighed(82, Finding(f"{text}{_for_macs(slow, fast)}.", models, ("latency", "macs")))


def _seconds(fact: Facts) -> float:
    return fact.time.seconds if fact.time else 0.0


def _for_macs(subject: Facts, other: Facts) -> str:
    """What the one pays in MACs beside the other: ", for 8.53x the MACs"; nothing where that is not known."""
    n, against = subject.total.macs, other.total.macs
    if not _exact("macs", subject, other) or not n or not against:
        return ""
    if phrases.alike(n, against):
        return f", for {'' if n == against else 'about '}the same number of MACs"
    return f", for {phrases.times(n / against)} the MACs"


def _pairs(facts: Sequence[Facts]) -> Iterator[tuple[tuple[int, int], Facts, Facts]]:
    """The first model and each other, with their positions."""
    for i, other in enumerate(facts[1:], 1):
        yield (0, i), facts[0], other


def _larger(a: Facts, b: Facts, key: str) -> tuple[Facts, Facts, float | None]:
    """The one with the larger total, the other, and how many times as large; `None` where the smaller has nothing."""
    large, small = sorted((a, b), key=lambda fact: -getattr(fact.total, key))
    less = getattr(small.total, key)
    return large, small, getattr(large.total, key) / less if less else None


def _exact(key: str, *facts: Facts) -> bool:
    return not any(key in fact.bounds for fact in facts)
