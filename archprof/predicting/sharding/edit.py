"""Changing the step of a rank: ops and storages put in or left out, storages made smaller or freed earlier.

Positions are those of the step as it was, until `build` puts all in its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import NamedTuple

from archprof.facts.records import Op, Phase, Signature, Storage, Tensor, TensorSpec
from archprof.predicting.sharding.ranks import Collective, RankStep

Place = tuple[int, int, int]
"""A moment: the old op that it stands before (-1) or behind (1), and its number; an old op is (position, 0, 0)."""


class _Put(NamedTuple):
    place: Place
    op: Op
    collective: Collective | None


class StepEditor:
    """A rank's step while it is changed."""

    def __init__(self, step: RankStep) -> None:
        self.step = step
        self.ops = list(step.profile.ops)
        self.tensors = list(step.profile.tensors)
        self.storages = list(step.profile.storages)
        self._put: list[_Put] = []
        self._dropped: set[int] = set()
        self._born: dict[int, Place] = {}
        self._died: dict[int, Place] = {}
        self._awaited: dict[Place, Place] = {}  # by the place of a collective
        self._moments = 0

    def add_storage(self, like: Storage, born: Place | None, died: Place | None) -> int:
        """A storage more: its index. Without a birth it was there before the step, without a death it stays."""
        self.storages.append(like._replace(born=None, died=None))
        index = len(self.storages) - 1
        if born is not None:
            self._born[index] = born
        if died is not None:
            self._died[index] = died
        return index

    def add_tensor(self, spec: TensorSpec, storage: int) -> int:
        """A tensor more: its index."""
        self.tensors.append(Tensor(spec, storage))
        return len(self.tensors) - 1

    def move_birth(self, storage: int, born: Place | None) -> None:
        """A storage is made elsewhere; `None`: before the step."""
        self.storages[storage] = self.storages[storage]._replace(born=None)
        self._born.pop(storage, None)
        if born is not None:
            self._born[storage] = born

    def move_death(self, storage: int, died: Place | None) -> None:
        """A storage goes elsewhere; `None`: it outlives the step."""
        self.storages[storage] = self.storages[storage]._replace(died=None)
        self._died.pop(storage, None)
        if died is not None:
            self._died[storage] = died

    def mark(self, position: int, *, behind: bool = False) -> Place:
        """A moment between ops: a storage that dies then is gone before whatever is put in later at this position."""
        self._moments += 1
        return (position, 1 if behind else -1, self._moments)

    def put(self, op: Op, position: int, *, behind: bool = False, collective: Collective | None = None) -> Place:
        """An op before the old one at that position, or behind it; those of one place keep their order."""
        place = self.mark(position, behind=behind)
        self._put.append(_Put(place, op, collective))
        return place

    def drop(self, position: int) -> None:
        """An old op does not run: what it made is made by the next one, what died with it dies with the one before."""
        self._dropped.add(position)

    def await_at(self, collective: Place, place: Place) -> None:
        """The collective that was put there is waited for at the first op from this moment on."""
        self._awaited[collective] = place

    def put_op(
        self, name: str, position: int, call: int, phase: Phase, inputs: tuple[int, ...], outputs: tuple[int, ...],
        *, behind: bool = False, collective: Collective | None = None,
    ) -> Place:  # fmt: skip
        """An op that moves data and counts no arithmetic."""
        specs = [tuple([self.tensors[at].spec for at in side]) for side in (inputs, outputs)]
        signature = Signature(
            name, inputs=specs[0], outputs=specs[1], status="zero",
            bytes_read=sum(spec.nbytes for spec in specs[0]), bytes_written=sum(spec.nbytes for spec in specs[1]),
        )  # fmt: skip
        return self.put(Op(signature, call, phase, inputs, outputs), position, behind=behind, collective=collective)

    def put_collective(
        self, name: str, collective: Collective, call: int, phase: Phase, inputs: tuple[int, ...],
        outputs: tuple[int, ...], *, behind: bool = False,
    ) -> Place:  # fmt: skip
        """A collective at `collective.op`, an old position; it counts no arithmetic."""
        return self.put_op(name, collective.op, call, phase, inputs, outputs, behind=behind, collective=collective)

    def build(self) -> RankStep:
        """The step with everything in its place."""
        profile = self.step.profile
        old: list[Place] = [(at, 0, 0) for at in range(len(self.ops)) if at not in self._dropped]
        order = sorted([*old, *(one.place for one in self._put)])
        put = {one.place: one.op for one in self._put}
        ops = tuple([put[place] if place in put else self.ops[place[0]] for place in order])
        storages = tuple([self._place(at, one, order) for at, one in enumerate(self.storages)])
        training = profile.training
        if training is not None:
            first, steady = (bisect_left(order, (at, -2, 0)) for at in (training.first, training.steady))
            training = training._replace(first=first, steady=steady)
        changed = replace(profile, ops=ops, tensors=tuple(self.tensors), storages=storages, training=training)
        return replace(self.step, profile=changed, collectives=self._place_collectives(order))

    def _place_collectives(self, order: list[Place]) -> tuple[Collective, ...]:
        placed = []
        for one in self.step.collectives:
            awaited = None if one.awaited is None else bisect_left(order, (one.awaited, 0, 0))
            placed.append(one._replace(op=bisect_left(order, (one.op, 0, 0)), awaited=awaited))
        for place, _, collective in self._put:
            if collective is not None:
                later = self._awaited.get(place)
                awaited = None if later is None else bisect_left(order, later)
                placed.append(collective._replace(op=bisect_left(order, place), awaited=awaited))
        return tuple(sorted(placed, key=lambda one: one.op))

    def _place(self, at: int, storage: Storage, order: list[Place]) -> Storage:
        """Born with the first op from then on, dead with the last one until then."""
        born, died = storage.born, storage.died
        new_born = self._born.get(at) or (None if born is None else (born, 0, 0))
        new_died = self._died.get(at) or (None if died is None else (died, 0, 0))
        first = None if new_born is None else min(bisect_left(order, new_born), max(len(order) - 1, 0))
        last = None if new_died is None else max(bisect_right(order, new_died) - 1, first or 0)
        return storage._replace(born=first, died=last)
