"""How lines of the layer tables fold: equal calls are told once, with their sums."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from archprof.analysis.counts import SUMS, Counts, sum_counts
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.table import Value
from archprof.analysis.tables.columns import CountedLine
from archprof.facts.records import Layer, Profile

COUNTED_SUMS = tuple(metric.key for metric in SUMS if not metric.measured)
"""What two equal calls cost equally: no two take exactly the same time."""

WEIGHED_SUMS = ("macs", "params", "act_fp32")
"""A row is as large as its largest share of these, and of the time."""


class LineRules:
    """`archprof.analysis.tables.fold.RowRules` for lines of one profile.

    `total` is what they add up to, `key` the column that names them.
    """

    def __init__(self, profile: Profile, total: Counts, key: str = "layer") -> None:
        self.layers, self.total, self.key = profile.layers, total, key

    def depth_of(self, row: CountedLine) -> int:
        return row.depth

    def names_of(self, row: CountedLine) -> tuple[str, str]:
        return row.name, row.name if row.short is None else row.short

    def signature_of(self, row: CountedLine) -> Hashable:
        layer = None if row.row is None else self.layers[row.row]
        counts = tuple(getattr(row.counts, key) for key in COUNTED_SUMS)
        return layer and _describe(layer), counts, row.stopped, row.unsized, row.outside

    def weigh(self, row: CountedLine) -> float:
        shares: list[float] = [getattr(row.counts, key) / (getattr(self.total, key) or 1) for key in WEIGHED_SUMS]
        time, whole = row.counts.latency, self.total.latency
        return max(*shares, time.seconds / whole.seconds if time and whole else 0.0)

    def merge(self, rows: Sequence[CountedLine], name: str, short: str) -> CountedLine:
        keys = dict.fromkeys(key for row in rows for key in row.facts)
        told: dict[str, Value] = {key: _merge_facts(key, [row.facts.get(key) for row in rows]) for key in keys}
        return CountedLine(
            name,
            sum_counts(row.counts for row in rows),
            {**told, self.key: name},
            short=short,
            stopped=any(row.stopped for row in rows),
            unsized=any(row.unsized for row in rows),
        )

    def place(self, row: CountedLine, depth: int, opened: bool) -> CountedLine:
        return replace(row, depth=depth, subtotal=opened)


def _describe(layer: Layer) -> Hashable:
    return layer.kind, layer.outputs, layer.call is None


def _merge_facts(key: str, values: Sequence[Value]) -> Value:
    """What all say; the kinds of several, the largest of what is a maximum, the range of what grows; else nothing."""
    known = list(dict.fromkeys(value for value in values if value is not None))
    if len(known) < 2:
        return known[0] if known and (len(values) == values.count(known[0])) else None
    if METRIC_BY_KEY[key].adds == "maximum":
        return max(value for value in known if isinstance(value, int | float))
    if key == "kind":
        return _list_words(map(str, known))
    if key.startswith("rf") and all(isinstance(value, str) and value.isdigit() for value in known):
        return f"{known[0]}-{known[-1]}"
    return None


def _list_words(words: Iterable[str], most: int = 3) -> str:
    listed = list(words)
    return ", ".join(listed[:most]) + (" .." if len(listed) > most else "")
