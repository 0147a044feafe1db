"""A long tree of rows told in a few: equal siblings in one row, and inner rows only where they fit."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from archprof.analysis.repeats import find_repeat
from archprof.wording import say_many

T = TypeVar("T")

MAX_SHOWN_ROWS = 25
"""A table opens with no more rows than this."""

MIN_SHOWN_ROWS = 10
"""With fewer, the heaviest parts are opened one by one, as far as they fit."""

MAX_PERIOD = 8
"""So many siblings at most are one pattern that repeats, as (Conv2d, ReLU)."""

MIN_REPEATS = 3
"""A pattern of several siblings is told once from so many repeats on; a single one from two."""

NOTABLE_SHARE = 0.01
"""What has less than this share of every total is the first to go."""

DOMINANT_SHARE = 0.5
"""A part with so much of a total is opened where there is room."""


class RowRules(Protocol[T]):
    """How the rows of a table are read, and put together."""

    def depth_of(self, row: T) -> int:
        """How far it is indented."""

    def names_of(self, row: T) -> tuple[str, str]:
        """In full, and under its parent."""

    def signature_of(self, row: T) -> Hashable:
        """The same for rows that differ in nothing but their names."""

    def weigh(self, row: T) -> float:
        """Its largest share of a total."""

    def merge(self, rows: Sequence[T], name: str, short: str) -> T:
        """One row for all of these, with their sums."""

    def place(self, row: T, depth: int, opened: bool) -> T:
        """The row at this depth, as the sum of rows that follow if it is opened."""


class OutlineRow(NamedTuple, Generic[T]):
    """A row of a table that opens and closes.

    Attributes:
        at: its index in the table; `None` for a sum that only the outline has.
        hidden: it is closed away at first.
        small: it is hidden behind the row for the small ones, which comes after its siblings.
        times: how many equal siblings it stands for.
    """

    row: T
    at: int | None
    hidden: bool = False
    small: bool = False
    times: int = 1


class Folded(NamedTuple, Generic[T]):
    """`shown` adds up to the total as all rows do; `outline` has every row and the sums that close them away."""

    shown: list[T]
    outline: list[OutlineRow[T]]


@dataclass(slots=True, eq=False)
class _Branch(Generic[T]):
    """A row with what hangs on it. `alike` is one number for all that are equal with everything below them."""

    row: T
    at: int
    parts: list[_Branch[T]] = field(default_factory=list)
    alike: int = -1


@dataclass(slots=True, eq=False)
class _Fold(Generic[T]):
    """One shown row: equal branches, or `period` siblings that repeat `times` times."""

    branches: list[_Branch[T]]
    row: T
    name: str
    times: int = 1
    period: int = 1
    parts: list[_Fold[T]] | None = None
    others: T | None = None
    small: frozenset[int] = frozenset()


def fold_rows(rows: Sequence[T], rules: RowRules[T], outlined: bool = False) -> Folded[T]:
    """At most `MAX_SHOWN_ROWS` of a tree that has more; `outlined`: also how all of them open and close."""
    folding = _Folding(rows, rules)
    folding.open_levels()
    folding.open_heaviest()
    return Folded(list(folding.show()), list(folding.outline()) if outlined else [])


def keep_largest(rows: Sequence[T], rules: RowRules[T]) -> list[T]:
    """A flat list in its order; of more than `MAX_SHOWN_ROWS` the smallest are put together in a last one."""
    if len(rows) <= MAX_SHOWN_ROWS:
        return list(rows)
    kept = set(sorted(range(len(rows)), key=lambda i: -rules.weigh(rows[i]))[: MAX_SHOWN_ROWS - 1])
    rest = [row for i, row in enumerate(rows) if i not in kept]
    name = name_others(len(rest))
    return [*(rows[i] for i in sorted(kept)), rules.merge(rest, name, name)]


def name_others(count: int) -> str:
    return f"({say_many(count, 'other row')})"


class _Folding(Generic[T]):
    """The rows of one table while they are opened; the root stands for the model and is no row itself."""

    def __init__(self, rows: Sequence[T], rules: RowRules[T]) -> None:
        self.rules = rules
        self.branches = [_Branch(row, at) for at, row in enumerate(rows)]
        self.root = _Fold([_Branch(rows[0], -1, self._hang())], rows[0], "")
        self._compare()
        self.count = 0
        self._open(self.root, least=0.0)

    def _hang(self) -> list[_Branch[T]]:
        roots: list[_Branch[T]] = []
        above: list[_Branch[T]] = []
        for branch in self.branches:
            del above[self.rules.depth_of(branch.row) :]
            (above[-1].parts if above else roots).append(branch)
            above.append(branch)
        return roots

    def _compare(self) -> None:
        """Number the branches from the innermost out, so that no depth is too deep."""
        known: dict[Hashable, int] = {}
        for branch in reversed(self.branches):
            parts = tuple((self.rules.names_of(part.row)[1], part.alike) for part in branch.parts)
            branch.alike = known.setdefault((self.rules.signature_of(branch.row), parts), len(known))

    def _plain(self, branch: _Branch[T]) -> _Fold[T]:
        return _Fold([branch], branch.row, self.rules.names_of(branch.row)[0])

    def _group(self, siblings: list[_Fold[T]], above: str) -> list[_Fold[T]]:
        """The siblings, those that repeat in one."""
        alike, grouped, at = [one.branches[0].alike for one in siblings], list[_Fold[T]](), 0
        while at < len(siblings):
            period, times = find_repeat(alike, at, MAX_PERIOD, MIN_REPEATS)
            found = siblings[at : at + period * times]
            grouped.append(self._put_together(found, above, period, times) if times > 1 else found[0])
            at += period * times
        return grouped

    def _put_together(self, found: list[_Fold[T]], above: str, period: int, times: int) -> _Fold[T]:
        ends = (self.rules.names_of(found[i].branches[0].row)[1] for i in (0, -1))
        span = _name_span(*ends)
        short, name = f"{span} x {times}", f"{above}.{span}" if above else span
        branches = [branch for one in found for branch in one.branches]
        row = self.rules.merge([one.row for one in found], f"{name} x {times}", short)
        return _Fold(branches, row, name, times, period)

    def find_parts(self, fold: _Fold[T]) -> list[_Fold[T]]:
        """What hangs on a shown row, each part summed over all that the row stands for."""
        if fold.period > 1:
            return []
        first = fold.branches[0]
        if len(fold.branches) == 1:
            return self._group([self._plain(part) for part in first.parts], fold.name)
        parts = []
        for i, part in enumerate(first.parts):
            branches = [branch.parts[i] for branch in fold.branches]
            short = self.rules.names_of(part.row)[1]
            name = f"{fold.name}{' ' if short.startswith('(') else '.'}{short}"
            parts.append(_Fold(branches, self.rules.merge([one.row for one in branches], name, short), name))
        return self._group(parts, fold.name)

    def open_levels(self) -> None:
        """Open whole levels from the outside in, as long as they fit."""
        level = self.root.parts or []
        while level:
            found = [(fold, self.find_parts(fold)) for fold in level if fold.branches[0].parts]
            more = sum(len(parts) for _, parts in found)
            if self.count + more > MAX_SHOWN_ROWS:
                return
            for fold, parts in found:
                fold.parts = parts or None
            self.count += more
            level = [part for _, parts in found for part in parts]

    def open_heaviest(self) -> None:
        """Open the heaviest parts where little is shown yet, and those that hold most and are told once."""
        passed = set[int]()
        while closed := [one for _, one in self._walk() if self._may_open(one) and id(one) not in passed]:
            heaviest = max(closed, key=lambda one: self.rules.weigh(one.row))
            weight = self.rules.weigh(heaviest.row)
            enough = self.count >= MIN_SHOWN_ROWS and (weight < DOMINANT_SHARE or heaviest.times > 1)
            if weight < NOTABLE_SHARE or enough or not self._open(heaviest, NOTABLE_SHARE):
                passed.add(id(heaviest))

    def _may_open(self, fold: _Fold[T]) -> bool:
        return fold.parts is None and fold.period == 1 and bool(fold.branches[0].parts)

    def _open(self, fold: _Fold[T], least: float) -> bool:
        """Whether there was room for its parts, or for the largest of them that have so much of a total."""
        parts, room = self.find_parts(fold), MAX_SHOWN_ROWS - self.count
        if len(parts) > room:
            largest = sorted(range(len(parts)), key=lambda i: -self.rules.weigh(parts[i].row))[: max(room - 1, 0)]
            kept = {i for i in largest if self.rules.weigh(parts[i].row) >= least}
            if not kept:
                return False
            rest = [part for i, part in enumerate(parts) if i not in kept]
            fold.small = frozenset(branch.at for part in rest for branch in part.branches)
            name = name_others(sum(part.times * part.period for part in rest))
            fold.others = self.rules.merge([part.row for part in rest], f"{fold.name} {name}".strip(), name)
            parts = [part for i, part in enumerate(parts) if i in kept]
        fold.parts = parts
        self.count += len(parts) + (fold.others is not None)
        return True

    def _walk(self) -> Iterator[tuple[int, _Fold[T]]]:
        """Every shown row with its depth."""
        waiting = [(0, one) for one in reversed(self.root.parts or [])]
        while waiting:
            depth, fold = waiting.pop()
            yield depth, fold
            waiting += [(depth + 1, part) for part in reversed(fold.parts or [])]

    def show(self) -> Iterator[T]:
        """The shown rows, each part behind what it belongs to and its small siblings behind the last."""
        pending = [] if self.root.others is None else [(0, self.root.others)]
        for depth, fold in self._walk():
            while pending and pending[-1][0] > depth:
                yield self._place(*pending.pop())
            yield self.rules.place(fold.row, depth, fold.parts is not None)
            if fold.others is not None:
                pending.append((depth + 1, fold.others))
        while pending:
            yield self._place(*pending.pop())

    def _place(self, depth: int, row: T) -> T:
        return self.rules.place(row, depth, False)

    def outline(self) -> Iterator[OutlineRow[T]]:
        """Every row, behind the sum of those that are equal to it; open where one row is shown open."""
        opened = {one.branches[0].at: one for _, one in self._walk() if one.parts and len(one.branches) == 1}
        waiting = list(self._inside(self.root.branches[0], self.root, "", 0))[::-1]
        while waiting:
            task = waiting.pop()
            fold, depth = task.fold, task.depth
            if fold is None or fold.times > 1:
                row = self.rules.place(task.row, depth, True)
                yield OutlineRow(row, None, task.hidden, task.small, fold.times if fold else 1)
                inner = fold.branches if fold else []
                waiting += [_Task(one.row, self._plain(one), depth + 1, True, False) for one in reversed(inner)]
            else:
                branch = fold.branches[0]
                row = self.rules.place(branch.row, depth, bool(branch.parts))
                yield OutlineRow(row, branch.at, task.hidden, task.small)
                waiting += list(self._inside(branch, opened.get(branch.at), fold.name, depth + 1))[::-1]

    def _inside(self, branch: _Branch[T], known: _Fold[T] | None, name: str, depth: int) -> Iterator[_Task[T]]:
        """What hangs on a row; hidden where the row is not `known` to be open."""
        small = known.small if known else frozenset[int]()
        for part in self._group([self._plain(one) for one in branch.parts], name):
            away = part.branches[0].at in small
            yield _Task(part.row, part, depth, known is None or away, away)
        if known and known.others is not None:
            yield _Task(known.others, None, depth, False, False)


class _Task(NamedTuple, Generic[T]):
    """What of an outline is still to be told; no fold: the row for the small ones."""

    row: T
    fold: _Fold[T] | None
    depth: int
    hidden: bool
    small: bool


def _name_span(first: str, last: str) -> str:
    """From the first name to the last: "1-35", "layer_0-11"; "a .. b" where they are not numbered alike."""
    ends = [re.fullmatch(r"(.*?)(\d+)", name) for name in (first, last)]
    if ends[0] and ends[1] and ends[0][1] == ends[1][1]:
        return f"{first}-{ends[1][2]}"
    return f"{first} .. {last}"
