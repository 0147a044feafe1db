"""Which storages are live when, in one step of a run: the first, which makes the optimizer's state, or a later one.

A profile holds the forward, the backward and two steps of the optimizer, one after the other. The first step of a run
is made of the first three; a later one, in the steady state, has the second in the place of the first, and finds the
state there from the start, as it does the parameters that the first forward made. Without an optimizer a step is the
pass.

What a module holds of one step it lets go in the next, mostly as it takes what stands in its place there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
        storages = _find_once(profile.storages) if kind == "steady" else profile.storages
        places = [_place(index, storage, 0, count) for index, storage in enumerate(storages)]
        lives = [one for one in places if kind == "steady" or storages[one.storage].role != "carried"]
        return Step(tuple(range(count)), tuple(lives))
    if kind == "first":
        step = Step(tuple(range(training.steady)), tuple(_first_lives(profile, training.steady)))
        return step if training.accumulate > 1 else _without_earlier_gradients(profile, step)
    later = (*range(training.first), *range(training.steady, count))
    return Step(later, tuple(_steady_lives(profile, training.first, training.steady)))


def build_shown_step(profile: Profile) -> Step:
    """What is shown beside the counts: one pass, or a step of the optimizer that finds its state."""
    return build_step(profile, "first" if profile.training is None else "steady")


def _place(index: int, storage: Storage, shift: int, count: int) -> Life:
    """A storage whose birth and death are so many ops earlier in the step, which has so many ops."""
    end, born, died = max(count - 1, 0), storage.born, storage.died
    first = 0 if born is None else min(born - shift, end)
    return Life(index, first, end if died is None else died - shift, born is not None, died is not None)


def _first_lives(profile: Profile, steady: int) -> Iterator[Life]:
    for index, storage in enumerate(profile.storages):
        if storage.role != "carried" and (storage.born is None or storage.born < steady):
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
    for index, storage in enumerate(_find_once(profile.storages)):
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


def pair_carried(storages: Sequence[Storage]) -> list[tuple[int, int]]:
    """What a step leaves, and what the next finds in its place: indices of storages of one size."""
    found = defaultdict[int, list[int]](list)
    for index, one in enumerate(storages):
        replaced = one.role == "buffer" and one.born is None and one.died is not None
        if one.role == "carried" or replaced:
            found[one.nbytes].append(index)
    left = (index for index, one in enumerate(storages) if one.lasts)
    return [(index, found[storages[index].nbytes].pop(0)) for index in left if found[storages[index].nbytes]]


def _find_once(storages: Sequence[Storage]) -> Sequence[Storage]:
    """The storages in a later step: what lasts and is not made anew is there from the start."""
    once = {index for index, one in enumerate(storages) if one.lasts}
    if not once:
        return storages
    once.difference_update([left for left, _ in pair_carried(storages)])
    return [one._replace(born=None) if index in once else one for index, one in enumerate(storages)]


def find_steady_storages(profile: Profile) -> tuple[Storage, ...]:
    """The storages, those of the optimizer's state as if they had been there from the start."""
    if profile.training is None:
        return tuple([one for one in profile.storages if one.role != "carried"])
    kept = [one.role == "optimizer state" and one.died is None for one in profile.storages]
    return tuple([one._replace(born=None) if stays else one for one, stays in zip(profile.storages, kept, strict=True)])


def sum_step_bytes(profile: Profile, step: Step) -> list[int]:
    """Bytes that are live while each op of the step runs."""
    changes = [0] * (max(len(step.ops), 1) + 1)
    for index, first, last, _, _ in step.lives:
        changes[first] += profile.storages[index].nbytes
        changes[last + 1] -= profile.storages[index].nbytes
    return list(accumulate(changes[:-1]))
