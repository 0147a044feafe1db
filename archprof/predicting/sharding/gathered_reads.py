"""The ops of the forward and the backward read gathered parameters, and no longer what is now a shard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from archprof.errors import ArchprofError
from archprof.facts.records import Op, Profile
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.units_walk import ParamGroup


class _Home(NamedTuple):
    group: ParamGroup
    number: int  # among the parameters of the group


def point_to_gathered(editor: StepEditor, groups: Iterable[ParamGroup]) -> None:
    """Each op that read a parameter reads it as it was gathered then.

    Raises:
        ArchprofError: an op of the forward reads a parameter while it is not gathered.
    """
    homes = {one.shard.storage: _Home(group, number) for group in groups for number, one in enumerate(group.parameters)}
    made: dict[tuple[int, int], int] = {}
    for position, op in enumerate(editor.ops):
        if op.phase == "optimizer":
            break
        sides = [
            tuple([_find_tensor(editor, homes, made, position, tensor) for tensor in side])
            for side in (op.inputs, op.outputs)
        ]
        if sides != [op.inputs, op.outputs]:
            editor.ops[position] = op._replace(inputs=sides[0], outputs=sides[1])


def _find_tensor(
    editor: StepEditor, homes: dict[int, _Home], made: dict[tuple[int, int], int], position: int, tensor: int
) -> int:
    spec, place = editor.tensors[tensor]
    home = homes.get(place)
    if home is None:
        return tensor
    storage = _find_whole(editor, home, position, place)
    if (tensor, storage) not in made:
        made[tensor, storage] = editor.add_tensor(spec, storage)
    return made[tensor, storage]


def _find_whole(editor: StepEditor, home: _Home, position: int, place: int) -> int:
    """The storage of the gathered parameter when that op runs."""
    now = (position, 0, 0)
    op = editor.ops[position]
    for begin, end, wholes in reversed(home.group.lives):
        if begin <= now and (op.phase == "backward" or end is None or now < end):
            return wholes[home.number].storage
    raise _make_error(editor.step.profile, op, place)


def _make_error(profile: Profile, op: Op, place: int) -> ArchprofError:
    name = next(one.name for one in profile.parameters if one.storage == place)
    reader = profile.path_of(op) or "the model"
    return ArchprofError(
        f"{reader} reads {name} while that is not gathered.",
        "torch fails there: a unit gathers its parameters for the calls of its own module.",
        "Put both in one unit, with --units.",
    )
