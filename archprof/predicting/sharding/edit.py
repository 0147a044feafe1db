"""Changing the step of a rank: ops and storages put in, storages made smaller or freed earlier.

Positions are those of the step as it was, until `build` puts all in its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from archprof.facts.records import Op, Signature, Storage, Tensor, TensorSpec
from archprof.predicting.sharding.ranks import Collective, RankStep

Place = tuple[int, int, int]
"""Of an op: the old op that it stands before (-1) or behind (1), and its number; an old op is (position, 0, 0)."""


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
        self._born: dict[int, Place] = {}
        self._died: dict[int, Place] = {}

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

    def put(self, op: Op, position: int, *, behind: bool = False, collective: Collective | None = None) -> Place:
        """An op before the old one at that position, or behind it; those of one place keep their order."""
        place = (position, 1 if behind else -1, len(self._put))
        self._put.append(_Put(place, op, collective))
        return place

    def put_collective(
        self, name: str, collective: Collective, call: int, phase: str, inputs: tuple[int, ...],
        outputs: tuple[int, ...], *, behind: bool = False,
    ) -> Place:  # fmt: skip
        """A collective at `collective.op`, an old position; it counts no arithmetic."""
        specs = [tuple(self.tensors[at].spec for at in side) for side in (inputs, outputs)]
        signature = Signature(
            name, inputs=specs[0], outputs=specs[1], status="zero",
            bytes_read=sum(spec.nbytes for spec in specs[0]), bytes_written=sum(spec.nbytes for spec in specs[1]),
        )  # fmt: skip
        op = Op(signature, call, phase, inputs, outputs)  # type: ignore[arg-type]
        return self.put(op, collective.op, behind=behind, collective=collective)

    def build(self) -> RankStep:
        """The step with everything in its place."""
        profile = self.step.profile
        order = sorted([*((at, 0, 0) for at in range(len(self.ops))), *(one.place for one in self._put)])
        index_of = {place: index for index, place in enumerate(order)}
        put = {one.place: one.op for one in self._put}
        ops = tuple([put[place] if place in put else self.ops[place[0]] for place in order])
        kept = [one._replace(op=index_of[one.op, 0, 0]) for one in self.step.collectives]
        new = [one.collective._replace(op=index_of[one.place]) for one in self._put if one.collective]
        storages = tuple([self._place(at, one, index_of) for at, one in enumerate(self.storages)])
        training = profile.training
        if training is not None:
            first, steady = (self._find_start(at, order, index_of) for at in (training.first, training.steady))
            training = training._replace(first=first, steady=steady)
        changed = replace(profile, ops=ops, tensors=tuple(self.tensors), storages=storages, training=training)
        collectives = tuple(sorted([*kept, *new], key=lambda one: one.op))
        return replace(self.step, profile=changed, collectives=collectives)

    def _place(self, at: int, storage: Storage, index_of: dict[Place, int]) -> Storage:
        born, died = storage.born, storage.died
        new_born = self._born.get(at) or (None if born is None else (born, 0, 0))
        new_died = self._died.get(at) or (None if died is None else (died, 0, 0))
        return storage._replace(
            born=None if new_born is None else index_of[new_born],
            died=None if new_died is None else index_of[new_died],
        )

    @staticmethod
    def _find_start(at: int, order: list[Place], index_of: dict[Place, int]) -> int:
        """Where the op stands now that stood there, with what was put before it."""
        index = index_of.get((at, 0, 0), len(order))
        while index and order[index - 1][0] == at and order[index - 1][1] == -1:
            index -= 1
        return index
