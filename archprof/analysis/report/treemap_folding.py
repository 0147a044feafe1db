"""Equal boxes of a treemap that follow one another, as one box: a net of 36 equal blocks is a few boxes to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import groupby

from archprof.analysis.report.treemap import AREA_METRICS, TreemapNode


def fold_equal_nodes(nodes: Sequence[TreemapNode]) -> tuple[TreemapNode, ...]:
    """The boxes with neighbours that are of one kind, cost the same and have equal parts summed up in one.

    The first of them gives it its id and its name; its label names the first and the last, and how many they are. Times
    are added up too, and need not be equal.
    """
    if not nodes:
        return ()
    parts, alike = _list_parts(nodes), _number_alike(nodes)
    folded: list[TreemapNode] = []
    waiting = [([nodes[0]], nodes[0].label, nodes[0].name)]
    while waiting:  # a model may be nested deeper than Python's calls
        same, label, whole = waiting.pop()
        folded.append(_add_up(same, label, whole))
        rows = [parts[node.id] for node in same]
        places = groupby(range(len(rows[0])), key=lambda at: alike[rows[0][at].id])
        runs = [slice(run[0], run[-1] + 1) for run in ([*group] for _, group in places)]
        for run in runs[::-1]:
            first, last = rows[0][run][0], rows[0][run][-1]
            span = first.label if first is last else f"{first.label}–{last.label}"
            times = "" if first is last else f" ×{len(rows[0][run]):,}"
            path = first.name[: len(first.name) - len(first.label)]  # of what the box is in, as that is called alone
            path = whole + path.removeprefix(same[0].name) if same[0] is not nodes[0] else path
            waiting.append(([part for row in rows for part in row[run]], span + times, path + span))
    return tuple(folded)


def _list_parts(nodes: Sequence[TreemapNode]) -> dict[str, list[TreemapNode]]:
    parts: dict[str, list[TreemapNode]] = defaultdict(list)
    for node in nodes[1:]:
        parts[node.parent].append(node)
    return parts


def _number_alike(nodes: Sequence[TreemapNode]) -> dict[str, int]:
    """A number for each box, the same for those that are equal with all that is in them."""
    numbers: dict[Hashable, int] = {}
    found: dict[str, int] = {}
    inside: dict[str, list[int]] = defaultdict(list)
    for node in reversed(nodes):
        costs = tuple(node.total[key] for key in AREA_METRICS)
        key = (node.kind, node.family, costs, tuple(inside[node.id]))
        found[node.id] = numbers.setdefault(key, len(numbers))
        inside[node.parent].append(found[node.id])
    return found


def _add_up(same: Sequence[TreemapNode], label: str, whole: str) -> TreemapNode:
    first, keys = same[0], same[0].total
    return first._replace(
        label=label,
        whole_name=whole if len(same) > 1 else "",
        times=len(same),
        own={key: sum(node.own[key] for node in same) for key in keys},
        total={key: sum(node.total[key] for node in same) for key in keys},
    )
