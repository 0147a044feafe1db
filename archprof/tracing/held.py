"""What a model holds of a pass once it is over, and when the next one lets it go: a second pass tells.

An average that each forward makes anew, a cache, a list of outputs that a hook keeps: the next pass finds it beside
what it makes, until it puts something else in its place. Most models hold nothing, and run once.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

from torch import nn

from archprof.facts.records import Storage
from archprof.torchside.held_tensors import find_held_tensors
from archprof.torchside.module_walk import walk_modules
from archprof.torchside.private import find_address
from archprof.torchside.tensors import storage_of
from archprof.tracing.recorder import Recorder
from archprof.tracing.storages import StorageLife
from archprof.units import show_quantity


class Held(NamedTuple):
    """A storage that the model holds behind a pass.

    Attributes:
        storage: its index.
        died: the op of the next pass after which it was gone; `None`: it stayed.
        is_remade: the next pass left one of its size, too.
    """

    storage: int
    died: int | None
    is_remade: bool


GROWTH_NOTE = (
    "The model holds {size} more after each pass, which it does not let go: the memory of a run grows with its steps."
)


def find_held(
    model: nn.Module, recorder: Recorder, run_again: Callable[[Callable[[Recorder], None]], Recorder | None]
) -> list[Held]:
    """What the model holds of the pass that `recorder` wrote down; its output, inputs and gradients are gone.

    What only others hold, as a list of the user's that a hook fills, is theirs: no second pass writes to it.

    Args:
        recorder: of the pass that is over.
        run_again: runs another pass over the same model, after it showed its recorder; `None` where it fails.
    """
    lives = _list_alive(recorder)
    if not lives or not _holds_any(model, lives):
        return []
    places: dict[int, int] = {}

    def watch(later: Recorder) -> None:
        for life in lives:
            storage = life()
            if storage is not None:
                places[life.index] = later.add_carried(storage)

    again = run_again(watch)
    if again is None:  # taken to be replaced as the next one is made
        return [Held(life.index, recorder.find_birth(life.index), is_remade=True) for life in lives]
    left = Counter(again.find_nbytes(life.index) for life in _list_alive(again))
    held = []
    for life in [one for one in lives if one.index in places]:
        size = recorder.find_nbytes(life.index)
        is_remade = left[size] > 0
        left[size] -= is_remade
        died = again.find_death(places[life.index])
        held.append(Held(life.index, _place_death(died, recorder, again, life.index), is_remade))
    return held


def _list_alive(recorder: Recorder) -> list[StorageLife]:
    """Of what a pass made, what is alive: cycles are gone by then."""
    if any(life() is not None for life in recorder.made_lives):
        gc.collect()
    return [life for life in recorder.made_lives if life() is not None]


def _holds_any(model: nn.Module, lives: Sequence[StorageLife]) -> bool:
    """Whether one of these is reached from a module, by whatever it holds."""
    alive = {find_address(storage) for storage in (life() for life in lives) if storage is not None}
    for _, module in walk_modules(model):
        storages = map(storage_of, find_held_tensors(vars(module)))
        if any(storage is not None and find_address(storage) in alive for storage in storages):
            return True
    return False


def _place_death(died: int | None, recorder: Recorder, again: Recorder, storage: int) -> int | None:
    """The op of the pass that is the one of the next pass; that which makes the storage, where the two differ."""
    if died is None:
        return None
    names = zip(recorder.recorded_ops, again.recorded_ops[: died + 1], strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0].signature.name == pair[1].signature.name, names))
    return died if same > died else recorder.find_birth(storage)


def list_held_notes(storages: Sequence[Storage], held: Sequence[Held]) -> list[str]:
    """What the reader must know of a model that lets nothing go."""
    grown = sum(storages[one.storage].nbytes for one in held if one.died is None and one.is_remade)
    return [GROWTH_NOTE.format(size=show_quantity(grown, "bytes"))] if grown else []


def add_held(storages: Sequence[Storage], held: Sequence[Held]) -> tuple[Storage, ...]:
    """The storages of a pass with those that the pass before it left."""
    made = list(storages)
    replaced = Counter(one.nbytes for one in made if one.role == "buffer" and one.born is None and one.died is not None)
    for one in held:
        storage = made[one.storage]
        made[one.storage] = storage._replace(lasts=True)
        if replaced[storage.nbytes] > 0:  # the buffer that was there from the first is let go at the same op
            replaced[storage.nbytes] -= 1
        elif one.died is not None or one.is_remade:
            made.append(Storage(storage.nbytes, storage.dtype, "carried", None, one.died))
    return tuple([one._replace(lasts=True) if _is_late_weight(one) else one for one in made])


def _is_late_weight(storage: Storage) -> bool:
    """Whether it is of a module that the forward made, which the next one finds."""
    return storage.role in ("parameter", "buffer") and storage.born is not None
