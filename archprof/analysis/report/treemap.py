"""The modules of a model as nested boxes: each box is exactly the sum of those in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archprof.analysis import elapsed
from archprof.analysis.counts import Counts
from archprof.analysis.network.families import OTHER_FAMILY, find_row_families
from archprof.analysis.tables.call_tree import OWN_LABEL
from archprof.analysis.tables.columns import build_outside_lines
from archprof.analysis.view import ProfileView
from archprof.facts.records import Profile

AREA_METRICS = ("params", "macs", "flops", "act_fp32")
ALL_AREA_METRICS = (*AREA_METRICS, "latency")
"""With the metric, in seconds, that only a measured model has."""

MAX_BOXES = 2_000
"""A treemap of more boxes than this is slow, and its boxes are too small to see."""


class TreemapNode(NamedTuple):
    """One box: a module by its path, all its calls together.

    What a module with parts does itself is a part of its own, "(own)", so `total` is the sum of the totals of the
    parts, exactly. `own` is the work of the box itself: `total` for one without parts, else 0.

    Attributes:
        id: "n0" for the model itself, and so on in the order of the boxes, parents first.
        label: the last word of the path; the model's name for the first box; "(own)", or "other (3)" for what three
            boxes too small to show hold together.
        parent: its id; "" for the first.
        kind: the class; "" for "other".
        family: the kind of work that its own ops do; of one with parts, that of the part with most.
        depth: 0 for the first.
        name: what its row in the table of layers is called; the model's name for the first.
        own, total: by the keys of `AREA_METRICS`; for a measured model by those of `ALL_AREA_METRICS`.
        whole_name: what several equal boxes are called that were made one, "layer3.1–35.conv1"; "" for one box.
        times: how many boxes were made one, also by being in such a box.
    """

    id: str
    label: str
    parent: str
    kind: str
    family: str
    depth: int
    name: str
    own: dict[str, float]
    total: dict[str, float]
    whole_name: str = ""
    times: int = 1


@dataclass(slots=True, eq=False)
class _Box:
    """A node that is being built; numbers in the order of `ALL_AREA_METRICS`. `is_module`: its label is of a path."""

    label: str
    kind: str
    depth: int
    total: list[float]
    parts: list[_Box] = field(default_factory=list)
    is_module: bool = True
    family: str = OTHER_FAMILY


def build_treemap(view: ProfileView, most: int = MAX_BOXES) -> tuple[TreemapNode, ...]:
    """Every module, parents first and parts in the order of their first calls.

    With more than `most` boxes, the smallest (by their largest share of any metric) are summed up in one box
    "other (n)" beside those that stay; where none stays, the box around them has no parts.
    """
    boxes = _boxes(view)
    if len(boxes) > most:
        _prune(boxes, most)
    return _numbered(boxes[0], ALL_AREA_METRICS if elapsed.find_latency(view.profile) else AREA_METRICS)


def _boxes(view: ProfileView) -> list[_Box]:
    """The tree as a list, every box behind the one it is part of, with its sums."""
    profile = view.profile
    by_path = {"": _Box(profile.model, "", 0, [0] * len(ALL_AREA_METRICS))}
    parents: dict[str, str] = {}
    for layer, counts, family in zip(profile.layers, view.own_counts, find_row_families(profile), strict=True):
        _place(by_path, parents, layer.path)
        box = by_path[layer.path]
        box.kind, box.family = box.kind or layer.kind, family
        box.total = _sum(box.total, _measured(counts))
    owns = []
    for box in by_path.values():
        if box.parts and any(box.total):
            owns.append(_Box(OWN_LABEL, box.kind, box.depth + 1, box.total, is_module=False, family=box.family))
            box.parts.append(owns[-1])
    for path in sorted(parents, key=lambda path: -by_path[path].depth):
        above, box = by_path[parents[path]], by_path[path]
        above.total = _sum(above.total, box.total)
        if box.parts:
            box.family = max(box.parts, key=lambda part: part.total[1:3]).family  # by MACs, then FLOPs
    return [*by_path.values(), *owns, *_rest(profile, by_path[""])]


def _rest(profile: Profile, root: _Box) -> list[_Box]:
    """What was measured and belongs to no module, as parts of the model itself."""
    lines = build_outside_lines(profile, "part")
    boxes = [_Box(line.name, "", 1, _measured(line.counts), is_module=False) for line in lines]
    root.parts += boxes
    root.total = [sum(column) for column in zip(root.total, *(box.total for box in boxes), strict=True)]
    return boxes


def _place(by_path: dict[str, _Box], parents: dict[str, str], path: str) -> None:
    """Make the box of a path, and those of the modules around it that have no row, such as a ModuleList."""
    missing = []
    while path not in by_path:
        missing.append(path)
        path = path.rpartition(".")[0]
    for inner in reversed(missing):
        above = by_path[path]
        by_path[inner] = _Box(inner.rpartition(".")[2], "", above.depth + 1, [0] * len(ALL_AREA_METRICS))
        above.parts.append(by_path[inner])
        parents[inner], path = path, inner


def _measured(counts: Counts) -> list[float]:
    """Its share of the area; a time below nothing, from taking off what the marks cost, is none."""
    seconds = counts.latency.seconds if counts.latency else 0
    return [*(getattr(counts, metric) for metric in AREA_METRICS), max(seconds, 0)]


def _sum(a: list[float], b: list[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _prune(boxes: list[_Box], most: int) -> None:
    """Keep so many of the largest that with the boxes for the others there are at most `most`."""
    ranked = sorted(boxes, key=lambda box: (-_share(box, boxes[0]), box.depth))  # a box comes before its parts
    kept = ranked[:most]
    while len(kept) > 1 and (over := len(kept) + _others(kept) - most) > 0:
        kept = kept[:-over]
    stay = set(kept)
    for box in kept:
        small = [part for part in box.parts if part not in stay]
        box.parts = [part for part in box.parts if part in stay]
        if small and box.parts:
            box.parts.append(_other(small))


def _share(box: _Box, root: _Box) -> float:
    return max(part / whole if whole else 0.0 for part, whole in zip(box.total, root.total, strict=True))


def _others(kept: list[_Box]) -> int:
    """How many boxes lose some of their parts and keep others."""
    stay = set(kept)
    return sum(len({part in stay for part in box.parts}) > 1 for box in kept)


def _other(small: list[_Box]) -> _Box:
    total = [sum(column) for column in zip(*(box.total for box in small), strict=True)]
    return _Box(f"other ({len(small):,})", "", small[0].depth, total)


def _numbered(root: _Box, keys: Sequence[str]) -> tuple[TreemapNode, ...]:
    nodes: list[TreemapNode] = []
    waiting = [(root, "", "")]
    while waiting:
        box, parent, above = waiting.pop()
        name = f"{above}.{box.label}".strip(".") if box.is_module else f"{above} {box.label}".strip()
        total = dict(zip(keys, box.total, strict=False))
        own = dict.fromkeys(keys, 0.0) if box.parts else dict(total)
        nodes.append(
            TreemapNode(f"n{len(nodes)}", box.label, parent, box.kind, box.family, box.depth, name, own, total)
        )
        waiting += [(part, nodes[-1].id, name if parent else "") for part in reversed(box.parts)]
    return tuple(nodes)
