"""Where a model could save: what standard rewrites change, the best three."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from archprof.analysis import phrases
from archprof.analysis.report.view import PageView
from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.records import Profile
from archprof.wording import say_many

MAX_SAVINGS = 3

MIN_SAVED = Fraction(1, 200)
"""A share of the MACs or of the parameters below which nothing is worth the work."""

MIN_EQUAL_BLOCKS = 3

REWRITE_WORDS = {
    "--separable": "Depthwise and pointwise convolutions for full ones",
    "--no-fc": "A global average for the first linear layers",
    "--width 0.75": "Three quarters of the hidden channels",
}


class TriedRewrite(Protocol):
    """What `archprof.sweeping.trials.Trial` holds."""

    @property
    def option(self) -> str: ...
    @property
    def layers(self) -> int: ...
    @property
    def before(self) -> Profile: ...
    @property
    def after(self) -> Profile: ...


@dataclass(frozen=True, slots=True)
class Saving:
    """One change, in a sentence, with what it adds to each number; `option`: of `archprof whatif`, "" for none."""

    text: str
    option: str
    macs: int
    params: int
    peak_bytes: int | None = None


def rank_savings(view: PageView, tried: Sequence[TriedRewrite]) -> tuple[Saving, ...]:
    """The changes that save the largest share of the MACs or the parameters, and cost more of neither."""
    if {"macs", "params"} & view.bounds:
        return ()
    found = [*(_judge(one) for one in tried), *_drop_block(view)]
    worth = [one for one in found if one.macs <= 0 and one.params <= 0 and _share_saved(view, one) >= MIN_SAVED]
    return tuple(sorted(worth, key=lambda one: -_share_saved(view, one))[:MAX_SAVINGS])


def _share_saved(view: PageView, saving: Saving) -> Fraction:
    return max(Fraction(-saving.macs, view.total.macs or 1), Fraction(-saving.params, view.total.params or 1))


def _judge(tried: TriedRewrite) -> Saving:
    before, after = tried.before.totals, tried.after.totals
    peaks = compute_peak_bytes(tried.before), compute_peak_bytes(tried.after)
    macs, params, peak = after.macs - before.macs, after.params - before.params, peaks[1] - peaks[0]
    told = [_say_change(macs, before.macs, "MACs"), _say_change(params, before.params, "parameters")]
    memory = f"peak memory {phrases.tenths_of_percent(Fraction(peak, peaks[0]), signed=True)}" if peak else ""
    changes = ", ".join(filter(None, [*told, memory]))
    where = say_many(tried.layers, "layer")
    text = f"{REWRITE_WORDS[tried.option]} ({where}): {changes}."
    return Saving(text, tried.option, macs, params, peak)


def _say_change(change: int, whole: int, word: str) -> str:
    """ "-5.22 G MACs (-45.4%)"; nothing where it stays."""
    if not change:
        return ""
    share = phrases.tenths_of_percent(Fraction(change, whole), signed=True) if whole else "all"
    sign = "-" if change < 0 else "+"
    return f"{sign}{phrases.say_count(abs(change))} {word} ({share})"


def _drop_block(view: PageView) -> Iterator[Saving]:
    """One block less of those that are equal, give back what they are given, and together spend most."""
    groups = [group for group in view.equal_blocks if len(group) >= MIN_EQUAL_BLOCKS]
    heaviest = max(groups, key=lambda group: len(group) * view.tree.totals[group[0]].macs, default=None)
    if heaviest is None:
        return
    block, paths = view.tree.totals[heaviest[-1]], [view.layer(row).path for row in heaviest]
    macs = _say_change(-block.macs, view.total.macs, "MACs")
    told = [macs, _say_change(-block.params, view.total.params, "parameters")]
    text = f"{_say_less(view.layer(heaviest[0]).kind, paths)}: {', '.join(filter(None, told))}."
    yield Saving(text, "", -block.macs, -block.params)


def _say_less(kind: str, paths: Sequence[str]) -> str:
    """ "One Bottleneck less of the 35 equal ones from layer3.1 to layer3.35"; all names where others stand between."""
    if len(set(paths)) == 1:
        return f"One call less of the {len(paths)} equal ones of {paths[0]}"
    if len(paths) == MIN_EQUAL_BLOCKS:
        return f"One {kind} less of the equal {phrases.join_words(paths)}"
    return f"One {kind} less of the {len(paths)} equal ones from {paths[0]} to {paths[-1]}"
