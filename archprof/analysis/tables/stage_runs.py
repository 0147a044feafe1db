"""Which ops of a pass are one stage: those of one spatial size that can be run one after the other.

Branches of a block run one after the other, and so do paths that join much later. An op therefore joins a run of its
size wherever nothing that it waits for comes after that run; only where something does is there a new run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import takewhile

from archprof.analysis.tables.map_sizes import is_spatial
from archprof.analysis.tables.named_dims import Size
from archprof.facts.records import Op

Block = tuple[int, ...]
"""The calls that an op ran in, from the model's own to the innermost."""


@dataclass(slots=True, eq=False)
class Run:
    """Ops of one spatial size.

    Attributes:
        size: of their outputs; `None` before the first tensor.
        ops: indices into `Profile.ops`.
        before: the runs whose results it needs, near or far.
        block: the path of calls that all of its ops ran in, from the model's own.
        macs: of its ops.
    """

    size: Size | None
    ops: list[int] = field(default_factory=list)
    before: set[Run] = field(default_factory=set)
    block: Block | None = None
    macs: int = 0

    def add(self, index: int, op: Op, block: Block) -> None:
        self.ops.append(index)
        self.macs += op.macs or 0
        self.block = block if self.block is None else _share_block(self.block, block)


def _share_block(one: Block, other: Block) -> Block:
    """The path of the innermost call that both are in."""
    return tuple([a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))])


class RunGraph:
    """The runs of a pass while they grow."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.merged: dict[Run, Run] = {}

    def find(self, run: Run) -> Run:
        """The run that this one has become part of."""
        while run in self.merged:
            run = self.merged[run]
        return run

    def join(self, size: Size | None, needed: Iterable[Run], block: Block) -> Run:
        """The run for an op that makes something of this size from what those runs made; they may be merged for it."""
        need = {self.find(run) for run in needed}
        ahead = need.union(*(run.before for run in need))
        alike = sorted((run for run in self.runs if run.size == size), key=lambda run: run not in need)
        for run in alike:
            between = {one for one in ahead if run in one.before}
            if not between or (run in need and _is_side_branch(run, between, block)):
                self._merge(between, run)
                break
        else:
            run = Run(size)
            self.runs.append(run)
        self._put_before(run, ahead - {run})
        return run

    def _put_before(self, run: Run, ahead: set[Run]) -> None:
        new = {self.find(one) for one in ahead} - run.before - {run}
        if new:
            for later in self.runs:
                if later is run or run in later.before:
                    later.before |= new

    def _merge(self, gone: set[Run], into: Run) -> None:
        for run in gone:
            into.ops += run.ops
            into.macs += run.macs
            into.before |= run.before
            into.block = _share_block(into.block or (), run.block or ())
            self.merged[run] = into
            self.runs.remove(run)
        into.before -= gone | {into}
        for run in self.runs if gone else ():
            if not gone.isdisjoint(run.before):
                run.before = (run.before - gone) | {into}

    def order(self) -> list[Run]:
        """Every run after those that it needs, and else in the order of the ops."""
        waiting, done = sorted(self.runs, key=lambda run: min(run.ops, default=-1)), list[Run]()
        while waiting:
            run = next(run for run in waiting if run.before.issubset(done))
            waiting.remove(run)
            done.append(run)
        return done


def _is_side_branch(run: Run, between: set[Run], block: Block) -> bool:
    """What leaves the map and comes back to be read beside it is no stage: one vector for the whole map, as the gates
    of squeeze-and-excitation, or a smaller map or longer cache within one module, as the keys of some attention.

    A smaller map that was made large again is the way up of a U-net; and a module in which the run began and that works
    at other sizes holds stages, as a backbone with its pyramid does.
    """
    others = [one for one in between if one.size != run.size]
    if is_spatial(run.size) and not any(is_spatial(one.size) for one in others):
        return True
    shared = reduce(_share_block, (one.block or () for one in between), block)
    holds_stages = (
        run.block is not None and _share_block(run.block, shared) == shared and any(one.macs for one in others)
    )
    return len(others) == len(between) and len(shared) > 1 and not holds_stages
