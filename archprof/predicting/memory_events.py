"""What a training run, or a forward, asks of the allocator and gives back, in order: the events of several steps.

The order is the program's. Weights and buffers come first. Each step begins with its inputs; an op's results are
allocated before it runs, its workspace is lent while it runs, and what died with it is given back after it. The
optimizer's state is made in the first step and stays; gradients go before the next step, unless they are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from archprof.facts.records import Op, Profile, Role, Storage
from archprof.facts.steps import Step, build_step, pair_carried

HOST_ROLES: frozenset[Role] = frozenset(("optimizer state", "temporary"))
SCALAR_BYTES = 8
"""Counters of steps lie on the host; those of fused optimizers, which do not, are as small."""


class Workspaces(NamedTuple):
    """What libraries borrow.

    Attributes:
        lend: bytes of each block that an op's kernel borrows while it runs.
        keeps: whether an op is a product, for the first of which in a thread a workspace is made that stays.
        kept_bytes: its size.
        spares: whether an op has kernels that borrow nothing, which run where memory is short.
    """

    lend: Callable[[Op], tuple[int, ...]] = lambda op: ()
    keeps: Callable[[Op], bool] = lambda op: False
    kept_bytes: int = 0
    spares: Callable[[Op], bool] = lambda op: False


class Change(NamedTuple):
    """One allocation or free.

    Attributes:
        block: its number in the run: of a storage in a step, or of a workspace.
        nbytes: allocated; `None`: freed.
        position: of the op in its step; -1 before the first.
        step: from 0.
        is_workspace: it holds no tensor.
        is_spared: where memory is short, the op does without.
    """

    block: int
    nbytes: int | None
    position: int
    step: int
    is_workspace: bool = False
    is_spared: bool = False


def list_changes(profile: Profile, workspaces: Workspaces, steps: int = 3) -> Iterator[Change]:
    """The events of so many steps."""
    run = _Run(profile, workspaces)
    yield from run.begin()
    later = None
    for number in range(steps):
        if number < 2:  # all steps but the first are alike
            later = _Schedule(profile, build_step(profile, "first" if number == 0 else "steady"))
        assert later is not None
        yield from run.run_step(number, later)


class _Schedule:
    """Which storages are there before a step, and which each of its ops makes and ends, by position."""

    def __init__(self, profile: Profile, step: Step) -> None:
        self.ops = step.ops
        self.before: list[int] = []
        self.made: defaultdict[int, list[int]] = defaultdict(list)
        self.ends: defaultdict[int, list[int]] = defaultdict(list)
        for index, first, last, made, dropped in step.lives:
            storage = profile.storages[index]
            if is_on_host(storage):
                continue
            if made:
                self.made[first].append(index)
            elif storage.role == "input":
                self.before.append(index)
            if dropped or not _outlives_step(storage, profile):
                self.ends[last].append(index)


class _Run:
    """Which block of the run each storage has at the moment."""

    def __init__(self, profile: Profile, workspaces: Workspaces) -> None:
        self.profile, self.workspaces = profile, workspaces
        self.pairs = pair_carried(profile.storages)
        self.blocks: dict[int, int] = {}  # by storage
        self.count = 0
        self.threads: set[str] = set()  # that have multiplied: the backward has one of its own

    def begin(self) -> Iterator[Change]:
        """What is there before the first step."""
        for index, storage in enumerate(self.profile.storages):
            if storage.born is None and storage.role not in ("input", "carried"):
                yield self._allocate(index, storage, -1, 0)

    def run_step(self, number: int, step: _Schedule) -> Iterator[Change]:
        storages = self.profile.storages
        for left, found in self.pairs if number else ():
            self.blocks[found] = self.blocks.pop(left, 0)
        for index in step.before:
            yield self._allocate(index, storages[index], -1, number)
        for position in range(max(len(step.ops), 1)):  # what a step without ops was given ends with it
            for index in step.made.get(position, ()):
                yield self._allocate(index, storages[index], position, number)
            if step.ops:
                yield from self._lend(step.ops[position], position, number)
            for index in step.ends.get(position, ()):
                yield self._free(index, position, number)

    def _allocate(self, index: int, storage: Storage, position: int, step: int) -> Change:
        self.count += 1
        self.blocks[index] = self.count
        return Change(self.count, storage.nbytes, position, step)

    def _free(self, index: int, position: int, step: int) -> Change:
        return Change(self.blocks.pop(index, 0), None, position, step)

    def _lend(self, index: int, position: int, step: int) -> Iterator[Change]:
        op = self.profile.ops[index]
        thread = "backward" if op.phase == "backward" else "main"
        if thread not in self.threads and self.workspaces.keeps(op):
            self.threads.add(thread)
            self.count += 1
            yield Change(self.count, self.workspaces.kept_bytes, position, step, is_workspace=True)
        first, spared = self.count + 1, self.workspaces.spares(op)
        for nbytes in self.workspaces.lend(op):
            self.count += 1
            yield Change(self.count, nbytes, position, step, is_workspace=True, is_spared=spared)
        for block in range(first, self.count + 1):
            yield Change(block, None, position, step)


def is_on_host(storage: Storage) -> bool:
    """Whether it is a number that an optimizer keeps beside the device."""
    return storage.role in HOST_ROLES and storage.nbytes <= SCALAR_BYTES


def _outlives_step(storage: Storage, profile: Profile) -> bool:
    if storage.role == "gradient":
        training = profile.training
        return training is not None and (training.accumulate > 1 or not training.set_to_none)
    if storage.role in ("gathered", "communication"):
        return storage.born is None
    return storage.lasts or storage.role in ("parameter", "buffer", "constant", "carried", "optimizer state")
