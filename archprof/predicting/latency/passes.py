"""The ops of a pass, row by row, worked out once for all devices; equal ops have one number in all profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple
from weakref import ReferenceType, ref

from archprof.facts.ops import Phase, Signature
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.records import Profile
from archprof.predicting.latency.fusion import Fusion, find_fusions
from archprof.predicting.latency.launches import classify_launch
from archprof.predicting.latency.works import Kind, Work, list_works

REMEMBERED = 2**16


class Step(NamedTuple):
    """What ops of a pass have in common that take equally long.

    Attributes:
        number: the same for equal steps, of whatever profile.
        kind: the class of its first kernel.
        works: its kernels, without what `torch.compile` spares them.
        launch: its kind for the host, by the index in `LAUNCH_KINDS`.
        joins: it continues a kernel of an op before it, and starts none.
    """

    number: int
    kind: Kind
    works: tuple[Work, ...]
    launch: int
    joins: bool


class Pass(NamedTuple):
    """A pass as sums of steps.

    Attributes:
        steps: each once.
        sums: each once, the steps of a row by their index in `steps`.
        rows: the key of each row, and the index of its sum in `sums`.
    """

    steps: tuple[Step, ...]
    sums: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[RowKey, int], ...]


_steps: dict[tuple[Signature, Phase, Fusion | None], Step] = {}
_new_numbers = count()
_last: list[tuple[ReferenceType[Profile], bool, Pass]] = []


def read_pass(profile: Profile, *, compiled: bool) -> Pass:
    """The steps of a profile; those of the last one are remembered, for the next device."""
    for known, how, found in _last:
        if known() is profile and how is compiled:
            return found
    found = _list_steps(profile, compiled)
    _last[:] = [(ref(profile), compiled, found)]
    return found


def list_steady_ops(profile: Profile) -> Sequence[int]:
    """The ops of a forward, or of a later training step, in which the optimizer's state is there already."""
    training, size = profile.training, len(profile.ops)
    return range(size) if training is None else (*range(training.first), *range(training.steady, size))


def _list_steps(profile: Profile, compiled: bool) -> Pass:
    steps: list[Step] = []
    rows: dict[RowKey, list[int]] = {}
    for key, place in _place_ops(profile, compiled, steps):
        rows.setdefault(key, []).append(place)
    sums: dict[tuple[int, ...], int] = {}
    placed = tuple((key, sums.setdefault(tuple(places), len(sums))) for key, places in rows.items())
    return Pass(tuple(steps), tuple(sums), placed)


def _place_ops(profile: Profile, compiled: bool, steps: list[Step]) -> Iterator[tuple[RowKey, int]]:
    """The row of each op, and the index of its step, which is added where it is new."""
    steady = list_steady_ops(profile)
    fusions = find_fusions(profile, steady) if compiled else {}
    known: dict[tuple[int, Phase, Fusion | None], int] = {}  # by id, found sooner than by all that a signature holds
    ops, optimizer = profile.ops, Outside.OPTIMIZER_STEP
    for index in steady:
        signature, call, phase, _, _ = ops[index]
        same = (id(signature), phase, fusions.get(index))
        place = known.get(same)
        if place is None:
            place = known[same] = len(steps)
            steps.append(_make_step(signature, phase, same[2]))
        yield optimizer if phase == "optimizer" else call, place


def _make_step(signature: Signature, phase: Phase, fusion: Fusion | None) -> Step:
    if len(_steps) >= REMEMBERED:
        _steps.clear()  # numbers are not given twice, so that nobody takes one for another
    key = (signature, phase, fusion)
    step = _steps.get(key)
    if step is None:
        works = list_works(signature)
        kernels = tuple([fusion.apply(work) if fusion else work for work in works if work.kind != "view"])
        launch = classify_launch(signature, phase, works)
        step = Step(next(_new_numbers), works[0].kind, kernels, launch, fusion is not None and fusion.joins)
        _steps[key] = step
    return step
