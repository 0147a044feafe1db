"""What is worth saying about several models, in sentences; each is computed, and names the facts it rests on.

A rule looks at all models and yields sentences, each with a weight: how much a reader would miss it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archprof.analysis import phrases
from archprof.analysis.compare.sequences import AlignedRow
from archprof.analysis.counts import sum_counts
from archprof.analysis.view import ProfileView
from archprof.wording import make_lines_visible, make_visible

MAX_FINDINGS = 7
"""More sentences than this are not read."""

REPEAT_PENALTY = 12
"""What each further finding of one rule loses in weight, so that the findings are of several kinds."""

DOMINANT_SHARE = 0.5
"""The share of a total from which on a few rows of it are worth a sentence."""

MAX_FEW_ROWS = 4
"""So many rows at most are a few."""

MAX_FEW_PARAMS_SHARE = 0.2
"""The share of the parameters up to which the early layers are said to have few."""

KIND_WORDS = {"Linear": "linear", "Conv2d": "convolution"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence.

    Attributes:
        text: the sentence, with its period.
        models: positions of the models it speaks of, from 0.
        columns: keys of the summary it rests on.
        rows: names of stages, or paths of layers, that it rests on.
    """

    text: str
    models: tuple[int, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


class WeighedFinding(NamedTuple):
    weight: float
    finding: Finding


def list_sentences(findings: Sequence[Finding], width: int | None = None) -> str:
    """The findings as a list, one per line or wrapped at `width`."""
    texts = [make_visible(str(finding)) for finding in findings]
    if width is None:
        return "".join(f"* {text}\n" for text in texts)
    wrapped = (textwrap.fill(f"* {text}", width, subsequent_indent="  ") for text in texts)
    return "".join(f"{make_lines_visible(lines)}\n" for lines in wrapped)  # a line that begins anew may be a command


ComparisonRule = Callable[[Sequence[ProfileView], Sequence[AlignedRow]], Iterator[WeighedFinding]]


def choose_findings(
    rules: Sequence[ComparisonRule], views: Sequence[ProfileView], stages: Sequence[AlignedRow]
) -> tuple[Finding, ...]:
    """What the rules find, most important first; `stages` says which stages stand beside each other."""
    found = []
    for rule in rules:
        said = sorted(rule(views, stages), key=lambda weighed: -weighed.weight)
        found += [WeighedFinding(weight - REPEAT_PENALTY * i, finding) for i, (weight, finding) in enumerate(said)]
    ordered = sorted(found, key=lambda weighed: -weighed.weight)
    return tuple(weighed.finding for weighed in ordered[:MAX_FINDINGS])


def find_incomplete_models(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """Some numbers are lower bounds, and no ratio of them is exact."""
    for i, view in enumerate(views):
        failure = view.profile.failure
        if failure:
            where = view.layer(view.profile.stopped_row or 0).path or "the model itself"
            text = f"The forward of {view.name} stopped in {where}: its work and activations are lower bounds."
            yield WeighedFinding(110, Finding(text, (i,), ("macs", "flops", "act_fp32", "depth"), (where,)))
        elif view.total.unknown:
            ops = "1 op" if view.total.unknown == 1 else f"{view.total.unknown} ops"
            text = f"The MACs and FLOPs of {view.name} are lower bounds: no cost rule covers {ops} of it."
            yield WeighedFinding(110, Finding(text, (i,), ("macs", "flops", "depth")))


def find_input_differences(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """What went in is not the same, so a part of every ratio is due to that; said once for all that have it."""
    aspects = [_asked(view) for view in views]
    differ = [i for i in range(len(aspects[0])) if len({asked[i] for asked in aspects}) > 1]
    if not differ:
        return
    said: dict[str, list[str]] = {}
    for view, asked in zip(views, aspects, strict=True):
        said.setdefault(", ".join(asked[i] for i in differ), []).append(view.name)
    groups = "; ".join(f"{words} for {phrases.join_words(names)}" for words, names in said.items())
    kinds = {view.image_positions is None for view in views}
    apart = " Pixels and tokens are not set beside each other." if len(kinds) > 1 else ""
    everyone = tuple(range(len(views)))
    text = f"The passes differ, which is part of every ratio: {groups}.{apart}"
    yield WeighedFinding(100, Finding(text, everyone))


def _asked(view: ProfileView) -> tuple[str, str, str, str]:
    """Inputs, batch, dtype and mode, in words."""
    profile = view.profile
    inputs = ", ".join(profile.inputs) or "no input"
    return inputs, f"batch {profile.batch}", profile.dtype_words, f"{profile.mode} pass"


def find_concentrated_params(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """A few layers of one kind hold most parameters, though others have some too."""
    said: dict[tuple[str, str], list[tuple[int, float, tuple[str, ...]]]] = {}
    for i, view in enumerate(views):
        owners = [row for row in view.rows if view.layer(row).params]
        for kind in dict.fromkeys(view.layer(row).kind for row in owners):
            rows = [row for row in owners if view.layer(row).kind == kind]
            share = sum(view.layer(row).params for row in rows) / view.total.params
            if share >= DOMINANT_SHARE and len(rows) <= MAX_FEW_ROWS and len(rows) < len(owners):
                number, plural = phrases.SMALL_NUMBERS[len(rows)], "s" if len(rows) > 1 else ""
                layers = f"{number} {KIND_WORDS.get(kind, kind)} layer{plural}"
                paths = tuple(view.row_name(row) for row in rows)
                said.setdefault((phrases.say_percent(share), layers), []).append((i, share, paths))
    for (percent, layers), cases in said.items():
        models = tuple(i for i, _, _ in cases)
        text = f"{percent} of the parameters of {_names(views, models)} sit in {layers}."
        paths = tuple(dict.fromkeys(path for _, _, own in cases for path in own))
        yield WeighedFinding(45 + 20 * cases[0][1], Finding(text, models, ("params",), paths))


def find_early_activations(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """The first stage or two make most of the activation memory and hold few of the parameters."""
    for i, view in enumerate(views):
        own = [stage for stage in view.stages if stage.counts.act_fp32]
        for first in range(1, min(2, len(own) - 2) + 1):
            held = sum_counts(stage.counts for stage in own[:first])
            share = held.act_fp32 / view.total.act_fp32
            if share < DOMINANT_SHARE or held.params > MAX_FEW_PARAMS_SHARE * view.total.params:
                continue
            made = f"{phrases.say_percent(share)} of the activation memory of {view.name} is made"
            names = tuple(stage.name for stage in own[:first])
            by = "layers without parameters"
            if held.params:
                by = f"layers with {phrases.say_percent(held.params / view.total.params)} of the parameters"
            text = f"{made} {phrases.say_place(names)}, by {by}."
            yield WeighedFinding(35 + 20 * share, Finding(text, (i,), ("act_fp32", "params"), names))
            break


def _names(views: Sequence[ProfileView], models: Sequence[int]) -> str:
    """ "vgg16", "vgg16 and of vgg16_bn", "vgg11, of vgg13 and of vgg16"."""
    *early, last = (views[i].name for i in models)
    return f"{', of '.join(early)} and of {last}" if early else last
