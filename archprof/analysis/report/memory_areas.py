"""What is live over the ops of a pass or step, by what it is for: the facts of a stacked picture."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import NamedTuple

from archprof.analysis.stretches import cut_stretches
from archprof.facts.records import Profile
from archprof.facts.steps import build_step
from archprof.predicting.memory import categorize

MAX_STRETCHES = 160
"""Places along the picture: of each stretch of ops the one with most is shown."""

TOGETHER = {"buffers": "weights and buffers", "weights": "weights and buffers", "constants": "weights and buffers"}
ORDER = (
    "weights and buffers", "inputs", "optimizer state", "gradients", "activations kept for backward",
    "activations and temporaries",
)  # fmt: skip
"""From the bottom up: what stays lies under what comes and goes."""


class MemoryAreas(NamedTuple):
    """Live bytes.

    Attributes:
        names: of the categories that there are, from the bottom up.
        places: which ops are shown, by their position in the step.
        sizes: for each name, bytes at each place.
        ops: how many there are.
        peak: the index into `places` at which most is live.
        peak_bytes: how much that is.
        peak_words: what runs there.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]
    ops: int
    peak: int
    peak_bytes: int
    peak_words: str


def build_memory_areas(profile: Profile) -> MemoryAreas | None:
    """`None` where fewer than two ops ran."""
    step = build_step(profile)
    count = len(step.ops)
    if count < 2:
        return None
    by_name: dict[str, list[int]] = defaultdict(lambda: [0] * (count + 1))
    for life in step.lives:
        storage = profile.storages[life.storage]
        category = categorize(storage)
        changes = by_name[TOGETHER.get(category, category)]
        changes[life.first] += storage.nbytes
        changes[life.last + 1] -= storage.nbytes
    live = {name: list(accumulate(by_name[name][:-1])) for name in ORDER if any(by_name.get(name, ()))}
    total = [sum(sizes) for sizes in zip(*live.values(), strict=True)] or [0] * count
    places = tuple([max(stretch, key=total.__getitem__) for stretch in cut_stretches(count, MAX_STRETCHES)])
    peak = max(places, key=total.__getitem__)
    sizes = tuple([tuple([each[place] for place in places]) for each in live.values()])
    at_peak = profile.ops[step.ops[peak]]
    words = f"{at_peak.phase}, {at_peak.name} of {profile.path_of(at_peak) or 'the model itself'}"
    return MemoryAreas(tuple(live), places, sizes, count, places.index(peak), total[peak], words)
