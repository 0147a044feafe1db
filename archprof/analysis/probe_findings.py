"""What is worth saying of a probed model, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from archprof.analysis import phrases
from archprof.analysis.compare.findings import Finding, WeighedFinding
from archprof.analysis.compare.sequences import AlignedRow
from archprof.analysis.probed import (
    find_row_activations,
    list_activation_spread,
    list_gradient_flow,
    list_relu_rows,
)
from archprof.analysis.view import ProfileView
from archprof.facts.records import Profile

NOTABLE_FALL = 100
"""How many times smaller the first gradient must be than the last, each by its weight, to be said to vanish."""

NOTABLE_SHRINK = 10
"""How many times the spread of activations must change along the depth to be worth a sentence."""

NOTABLE_DEAD = 0.1
"""The share of dead units from which on they are worth a sentence."""

NOTABLE_RANK = 0.1
"""The share of the greatest rank up to which the samples are said to be hardly told apart."""

NameRow = Callable[[int], str]


class Observation(NamedTuple):
    """A sentence, how much a reader would miss it, and the columns and rows that it rests on."""

    weight: float
    text: str
    columns: tuple[str, ...]
    rows: tuple[int, ...]


def observe_probe(profile: Profile, name: NameRow) -> Iterator[Observation]:
    """What a probed profile shows, the most important first; nothing of one that was not probed."""
    if profile.probe is not None:
        for rule in (find_nonfinite, find_gradient_flow, find_spread, find_collapse, find_dead_units):
            yield from rule(profile, name)


def find_nonfinite(profile: Profile, name: NameRow) -> Iterator[Observation]:
    """Values that are infinite or no numbers."""
    found = find_row_activations(profile)
    rows = [row for row, one in enumerate(found) if one and one.nonfinite]
    inner = [row for row in rows if not any(profile.layers[other].parent == row for other in rows)]
    if inner:
        one = found[inner[0]]
        assert one is not None
        text = (
            f"{one.nonfinite:,} of the {one.elements:,} values behind {name(inner[0])} are not finite: it is the first"
        )
        yield Observation(109, f"{text} layer where that is so.", ("nonfinite",), (inner[0],))
    assert profile.probe is not None
    if bad := sum(bool(one.nonfinite) for one in profile.probe.gradients):
        yield Observation(108, f"The gradients of {bad:,} parameter tensors are not finite.", ("grad_norm",), ())


def find_gradient_flow(profile: Profile, name: NameRow) -> Iterator[Observation]:
    """How the gradient of the first weight stands to that of the last."""
    flow = list_gradient_flow(profile)
    if len(flow) < 2 or not (flow[0].of_weight and flow[-1].of_weight):
        return
    first, last, fall = flow[0], flow[-1], flow[-1].of_weight / flow[0].of_weight
    rows, keys = (first.row, last.row), ("grad_norm", "grad_weight")
    by_weight = f"by weight {first.of_weight:.2g} against {last.of_weight:.2g}"
    if fall >= NOTABLE_FALL and last.norm > first.norm:
        times = say_fold(last.norm / first.norm)
        text = (
            f"The gradient of {first.name} is {times} times smaller than that of {last.name} ({by_weight}): vanishing."
        )
        yield Observation(107, text, keys, rows)
    elif fall <= 1 / NOTABLE_FALL and first.norm > last.norm:
        times = say_fold(first.norm / last.norm)
        text = (
            f"The gradient of {first.name} is {times} times larger than that of {last.name} ({by_weight}): exploding."
        )
        yield Observation(107, text, keys, rows)
    else:
        text = f"Gradients reach the first layer: {by_weight} in {last.name}."
        yield Observation(64, text, keys, rows)


def find_spread(profile: Profile, name: NameRow) -> Iterator[Observation]:
    """How the spread of activations changes from the first to the last rectifier, or layer where there are none."""
    spread = [point for point in list_activation_spread(profile) if point.std]
    rectified = set(list_relu_rows(profile))
    spread = [point for point in spread if point.row in rectified] or spread
    if len(spread) < 2:
        return
    first, last = spread[0], spread[-1]
    change = first.std / last.std
    if 1 / NOTABLE_SHRINK < change < NOTABLE_SHRINK:
        return
    verb, times = ("shrinks", change) if change > 1 else ("grows", 1 / change)
    text = f"The standard deviation of activations {verb} {say_fold(times)}-fold, from {first.std:.2g} behind "
    text += f"{name(first.row)} to {last.std:.2g} behind {name(last.row)}."
    yield Observation(99, text, ("act_std",), (first.row, last.row))


def find_collapse(profile: Profile, name: NameRow) -> Iterator[Observation]:
    """The first layer from which on what comes out is nearly the same for every sample."""
    found = find_row_activations(profile)
    parents = {layer.parent for layer in profile.layers}
    ranks = [
        (row, one.rank, one.rank_limit) for row, one in enumerate(found)
        if one and one.rank is not None and one.rank_limit and one.rank_limit > 1 / NOTABLE_RANK and row not in parents
    ]  # fmt: skip
    low = _list_tail([rank <= NOTABLE_RANK * limit for _, rank, limit in ranks])
    if low and len(low) < len(ranks):
        row, rank, limit = ranks[low[0]]
        text = f"From {name(row)} on {limit} samples differ in {rank} direction{'s' * (rank != 1)}: what went in hardly"
        yield Observation(97, f"{text} matters there.", ("rank",), (row,))


def _list_tail(flags: Sequence[bool]) -> list[int]:
    """The indices at the end from which on all are true."""
    start = len(flags)
    while start and flags[start - 1]:
        start -= 1
    return list(range(start, len(flags)))


def find_dead_units(profile: Profile, name: NameRow) -> Iterator[Observation]:
    """Units behind rectifiers that are 0 for every sample."""
    found = find_row_activations(profile)
    counted = [(row, one.dead, one.units) for row in list_relu_rows(profile) if (one := found[row]) and one.units]
    dead, units = sum(one or 0 for _, one, _ in counted), sum(one or 0 for _, _, one in counted)
    if not units or dead < NOTABLE_DEAD * units:
        return
    most = max(counted, key=lambda one: (one[1] or 0) / (one[2] or 1))
    share = phrases.say_percent(dead / units)
    text = f"{share} of the units behind ReLUs are dead, 0 for every sample: {most[1]} of {most[2]} in {name(most[0])}."
    yield Observation(96, text, ("dead",), (most[0],))


def compare_probes(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """How differently gradients reach the first layers of models that were probed on the same data."""
    flows = {at: flow for at, view in enumerate(views) if (flow := list_gradient_flow(view.profile))}
    firsts = {at: size for at, flow in flows.items() if (size := flow[0].of_weight)}
    if len(firsts) < 2 or len({view.profile.probe.data for view in views if view.profile.probe}) > 1:
        return
    least, most = min(firsts, key=firsts.__getitem__), max(firsts, key=firsts.__getitem__)
    times = firsts[most] / firsts[least]
    if times >= NOTABLE_FALL:
        text = (
            f"By its size, the first weight of {views[most].name} gets {say_fold(times)} times the gradient of that of "
        )
        text += f"{views[least].name} ({firsts[most]:.2g} against {firsts[least]:.2g})."
        rows = tuple(dict.fromkeys(views[at].row_name(flows[at][0].row) for at in (most, least)))
        yield WeighedFinding(94, Finding(text, (most, least), ("vanishing",), rows))


def say_fold(times: float) -> str:
    """Two digits are known of such a number: 2,700, 23, 1.2e+06."""
    rounded = float(f"{times:.2g}")
    return f"{rounded:,.0f}" if 10 <= rounded < 1e6 else f"{rounded:.2g}"
