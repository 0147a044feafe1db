"""Which storages are live when, in one step of a run: the first, which makes the optimizer's state, or a later one.

A profile holds the forward, the backward and two steps of the optimizer, one after the other. The first step of a run
is made of the first three; a later one, in the steady state, has the second in the place of the first, and finds the
state there from the start, as it does the parameters that the first forward made. Without an optimizer a step is the
pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Literal, NamedTuple

from archprof.facts.records import Profile, Storage

StepKind = Literal["first", "steady"]


class Life(NamedTuple):
    """A storage in a step, by the positions of ops in that step.

    Attributes:
        storage: its index.
        first, last: the first and the last op while which it is live.
        made: an op of this step made it; otherwise it was there before.
        dropped: it ends within the step.
    """

    storage: int
    first: int
    last: int
    made: bool
    dropped: bool


class Step(NamedTuple):
    """The ops of a step, by their index in the profile, and the lives of the storages."""

    ops: tuple[int, ...]
    lives: tuple[Life, ...]


def build_step(profile: Profile, kind: StepKind = "steady") -> Step:
    """A step of that kind."""
    training, count = profile.training, len(profile.ops)
    if training is None:
        storages = profile.storages if kind == "first" else map(_find_later, profile.storages)
        lives = [_place(index, storage, 0, count) for index, storage in enumerate(storages)]
        return Step(tuple(range(count)), tuple(lives))
    if kind == "first":
        step = Step(tuple(range(training.steady)), tuple(_first_lives(profile, training.steady)))
        return step if training.accumulate > 1 else _without_earlier_gradients(profile, step)
    later = (*range(training.first), *range(training.steady, count))
    return Step(later, tuple(_steady_lives(profile, training.first, training.steady)))


def _place(index: int, storage: Storage, shift: int, count: int) -> Life:
    """A storage whose birth and death are so many ops earlier in the step, which has so many ops."""
    end, born, died = max(count - 1, 0), storage.born, storage.died
    first = 0 if born is None else min(born - shift, end)
    return Life(index, first, end if died is None else died - shift, born is not None, died is not None)


def _find_later(storage: Storage) -> Storage:
    """As a later step finds it: a lazy layer makes its parameters once."""
    made_once = storage.role == "parameter" and storage.died is None
    return storage._replace(born=None) if made_once else storage


def _first_lives(profile: Profile, steady: int) -> Iterator[Life]:
    for index, storage in enumerate(profile.storages):
        if storage.born is None or storage.born < steady:
            ends = storage.died is not None and storage.died < steady
            yield _place(index, storage if ends else storage._replace(died=None), 0, steady)


def _without_earlier_gradients(profile: Profile, step: Step) -> Step:
    """Before the first step there are no gradients: what would be added to one is the gradient."""
    storages = profile.storages
    earlier = {at for at, one in enumerate(storages) if one.role == "gradient" and one.born is None}
    if not earlier:
        return step
    kept, added = set(), set()
    for position, op in enumerate(step.ops):
        read = [profile.tensors[tensor].storage for tensor in profile.ops[op].inputs]
        if profile.ops[op].phase == "backward" and not earlier.isdisjoint(read):
            added.add(position)
            kept.update(read)
    places = [at - 1 for at in accumulate(position not in added for position in range(len(step.ops)))]
    end = places[-1]
    lives = [
        Life(
            index,
            max(places[first], 0),
            end if index in kept else max(places[last], 0),
            made,
            dropped and index not in kept,
        )
        for index, first, last, made, dropped in step.lives
        if index not in earlier
    ]
    return Step(tuple(op for position, op in enumerate(step.ops) if position not in added), tuple(lives))


def _steady_lives(profile: Profile, first: int, steady: int) -> Iterator[Life]:
    """What the first step of the optimizer left is there from the start; what it dropped is in no later step."""
    gap, count = steady - first, len(profile.ops)
    for index, storage in enumerate(map(_find_later, profile.storages)):
        born, died = storage.born, storage.died
        in_first = born is not None and first <= born < steady
        if in_first and died is not None and died < steady:
            continue
        if in_first:
            storage = storage._replace(born=None)
        elif born is not None and born >= steady:
            storage = storage._replace(born=born - gap)
        if died is not None and died >= first:
            storage = storage._replace(died=max(died - gap, first))
        yield _place(index, storage, 0, count - gap)


def find_steady_storages(profile: Profile) -> tuple[Storage, ...]:
    """The storages, those of the optimizer's state as if they had been there from the start."""
    if profile.training is None:
        return profile.storages
    kept = [one.role == "optimizer state" and one.died is None for one in profile.storages]
    return tuple([one._replace(born=None) if stays else one for one, stays in zip(profile.storages, kept, strict=True)])


def sum_step_bytes(profile: Profile, step: Step) -> list[int]:
    """Bytes that are live while each op of the step runs."""
    changes = [0] * (max(len(step.ops), 1) + 1)
    for index, first, last, _, _ in step.lives:
        changes[first] += profile.storages[index].nbytes
        changes[last + 1] -= profile.storages[index].nbytes
    return list(accumulate(changes[:-1]))
