"""The module calls of a profile as a tree, and the lines it makes: with sums, or flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from archprof.analysis.counts import Counts, sum_counts
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.table import Value
from archprof.analysis.tables.columns import CountedLine
from archprof.facts.records import Layer, Profile

OWN_LABEL = "(own)"
ROOT_LABEL = "(model)"


class CallTree:
    """The module calls of a profile as a tree, with what each did itself and with all below it."""

    def __init__(self, profile: Profile, own: Sequence[Counts]) -> None:
        self.layers, self.own_counts = profile.layers, own
        self.parents = [layer.parent for layer in self.layers]
        self.children: list[list[int]] = [[] for _ in self.layers]
        for index, parent in enumerate(self.parents):
            if parent is not None:
                self.children[parent].append(index)
        self.stopped_rows = self._find_above(profile.list_stopped_rows())
        self.unsized_rows = self._find_above(profile.list_unsized_rows())

    def _find_above(self, rows: Sequence[int]) -> frozenset[int]:
        """These rows and every row that they are part of."""
        return frozenset().union(*(_ancestry(self.parents, row) for row in rows))

    @cached_property
    def totals(self) -> list[Counts]:
        totals = list(self.own_counts)
        for index in reversed(range(len(totals))):
            if (parent := self.parents[index]) is not None:
                totals[parent] = sum_counts((totals[parent], totals[index]))
        return totals


class TreeLines:
    """The lines that a tree makes.

    `shown` are the sums that the table prints: a row that is zero in all of them may be left out. `facts` are what
    else the table says of each row; none: nothing.
    """

    def __init__(self, tree: CallTree, shown: Sequence[str], facts: Sequence[Mapping[str, Value]] = ()) -> None:
        self.tree, self.shown_keys, self.facts = tree, shown, facts
        self.layers, self.children, self.own_counts = tree.layers, tree.children, tree.own_counts

    def nested_lines(self, limit: int | None) -> Iterator[CountedLine]:
        """Containers with their sums, leaves and own work below them; the model's own row only when it stands alone."""
        roots = [i for i, parent in enumerate(self.tree.parents) if parent is None and self.has_row(i)]
        waiting = [(root, False) for root in reversed(roots)]  # a model may be nested deeper than Python's calls
        while waiting:
            index, is_own = waiting.pop()
            if is_own:
                yield self._make_own_line(index)
                continue
            layer, children = self.layers[index], [child for child in self.children[index] if self.has_row(child)]
            is_leaf = not children or layer.depth == limit
            if is_leaf or layer.depth:
                yield self.make_line(index, self.tree.totals[index], subtotal=not is_leaf)
            if not is_leaf:
                waiting += [(index, True)] * self.has_work(self.own_counts[index])
                waiting += [(child, False) for child in reversed(children)]

    def _make_own_line(self, index: int) -> CountedLine:
        """What a container's own forward did, below what its parts did."""
        own = self.make_line(index, self.own_counts[index])
        alone = {key: value for key, value in own.facts.items() if METRIC_BY_KEY[key].adds != "maximum"}
        name = f"{own.name} {OWN_LABEL}"
        return replace(own, name=name, short=OWN_LABEL, depth=self.layers[index].depth, facts=alone)

    def flat_lines(self, limit: int | None) -> Iterator[CountedLine]:
        """What each call did itself, in full names; rows deeper than `limit` are folded into the one above."""
        rows = set(self.rows())
        for index, layer in enumerate(self.layers):
            folds = layer.depth == limit and bool(self.children[index]) and self.has_row(index)
            if folds or (index in rows and (limit is None or layer.depth <= limit)):
                counts = self.tree.totals[index] if folds else self.own_counts[index]
                yield replace(self.make_line(index, counts), depth=0, short=None)

    def rows(self) -> list[int]:
        """The calls that did or own something, and those that have no parts."""
        return [
            i
            for i in range(len(self.layers))
            if self.has_row(i) and (not self.children[i] or self.has_work(self.own_counts[i]))
        ]

    def make_line(self, index: int, counts: Counts, subtotal: bool = False) -> CountedLine:
        layer, parent = self.layers[index], self.tree.parents[index]
        return CountedLine(
            name=_name(layer, layer.path),
            counts=counts,
            facts=self.facts[index] if self.facts else {},
            short=_name(layer, layer.path if parent is None else _below(layer.path, self.layers[parent].path)),
            depth=max(layer.depth - 1, 0),
            subtotal=subtotal,
            stopped=index in self.tree.stopped_rows,
            unsized=index in self.tree.unsized_rows,
            row=index,
        )

    def has_row(self, index: int) -> bool:
        """It was called, or something in it is worth a row."""
        return bool(self.tree.totals[index].calls) or self.has_work(self.tree.totals[index])

    def has_work(self, counts: Counts) -> bool:
        return bool(counts.unknown) or any(getattr(counts, key) for key in self.shown_keys)


def _ancestry(parents: list[int | None], index: int | None) -> frozenset[int]:
    """The row and every row it is part of."""
    line, here = [], index
    while here is not None:
        line.append(here)
        here = parents[here]
    return frozenset(line)


def _name(layer: Layer, path: str) -> str:
    return (path or ROOT_LABEL) + layer.repeat_mark


def _below(path: str, parent: str) -> str:
    """The path as it reads under its parent: "0.conv" under "layer1" for "layer1.0.conv"."""
    return path.removeprefix(f"{parent}.") if parent else path
