"""Which blocks are worth a checkpoint: by what they keep for the backward at the peak. A guess, to be traced."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from archprof.facts.liveness import find_live_at_peak
from archprof.facts.records import Profile

MAX_PATTERNS = 2
"""Of sets of blocks, and as many of single ones: each is traced."""

MOST_OF_ALL = 0.9
"""A block that keeps more than this share of everything is the model itself: its repeat has the peak anew."""


class BlockChoice(NamedTuple):
    """A pattern of paths, and the bytes that a checkpoint of those blocks may free at the peak."""

    pattern: str
    nbytes: int


def choose_blocks(profile: Profile) -> list[str]:
    """Patterns for `--checkpoint`: the best sets of alike blocks, and the best of single ones."""
    all_kept = _sum_kept(profile)
    inputs = _sum_inputs(profile)  # which stay, for the block to run again
    kept = {path: max(size - inputs[path], 0) for path, size in all_kept.items()}
    alike: dict[str, list[int]] = defaultdict(list)
    for path, size in kept.items():
        alike[_make_pattern(path)].append(size)
    sets = [BlockChoice(name, sum(sizes) - max(sizes)) for name, sizes in alike.items() if len(sizes) > 1]
    most_kept = MOST_OF_ALL * all_kept.get("", 0)
    single = [BlockChoice(path, size) for path, size in kept.items() if path and size <= most_kept]
    unlike = {(_make_pattern(choice.pattern), choice.nbytes): choice for choice in single}
    chosen = [*_take_best(sets), *_take_best([*unlike.values()])]
    return list(dict.fromkeys(choice.pattern for choice in chosen))


def _sum_kept(profile: Profile) -> Mapping[str, int]:
    """Bytes that are live at the peak because the backward needs them, by the path of each call around their op."""
    kept: dict[str, int] = defaultdict(int)
    for index in find_live_at_peak(profile):
        storage = profile.storages[index]
        if not storage.saved or storage.born is None or profile.ops[storage.born].phase != "forward":
            continue
        call: int | None = profile.ops[storage.born].call
        while call is not None:
            kept[profile.modules[profile.calls[call].module].path] += storage.nbytes
            call = profile.calls[call].parent
    return kept


def _sum_inputs(profile: Profile) -> Mapping[str, int]:
    """Bytes of what goes into the calls of each module."""
    sizes: dict[str, int] = defaultdict(int)
    for call in profile.calls:
        sizes[profile.modules[call.module].path] += sum(spec.nbytes for spec in call.inputs)
    return sizes


def _make_pattern(path: str) -> str:
    """ "layer2.1" and "layer3.0" are alike: "layer?.*"; so are "blocks.3" and "blocks.11": "blocks.*"."""
    parts = ["*" if part.isdecimal() else re.sub(r"\d", "?", part) for part in path.split(".")]
    return ".".join(parts)


def _take_best(choices: list[BlockChoice]) -> list[BlockChoice]:
    """The best `MAX_PATTERNS` that are not inside one another."""
    taken: list[BlockChoice] = []
    for choice in sorted(choices, key=lambda one: -one.nbytes):
        inside = any(_holds(other.pattern, choice.pattern) or _holds(choice.pattern, other.pattern) for other in taken)
        if choice.nbytes and not inside and len(taken) < MAX_PATTERNS:
            taken.append(choice)
    return taken


def _holds(outer: str, inner: str) -> bool:
    return inner.startswith(f"{outer}.")
