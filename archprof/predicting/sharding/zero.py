"""ZeRO 1: whole copies, and each rank's optimizer steps a part of the parameters, which it then sends to the others.

The scheme is that of torch's `ZeroRedundancyOptimizer`: whole parameters, the largest first, each to the rank that has
least so far. DeepSpeed cuts one flat buffer of all instead: every rank has the same share there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapreplace

from archprof.facts.records import Profile
from archprof.predicting.sharding.copies import Copies
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.gradients import Gradient
from archprof.predicting.sharding.optimizer_shards import LocalParameter, cut_optimizer
from archprof.predicting.sharding.ranks import Collective


def deal_parameters(profile: Profile, ranks: int) -> list[list[int]]:
    """Indices into `Profile.parameters` of what each rank steps; ranks behind the last of them step nothing."""
    trained = [at for at, one in enumerate(profile.parameters) if one.trainable and one.role == "parameter"]
    sizes = {at: profile.parameters[at].spec.numel for at in trained}
    filled = [(0, rank) for rank in range(min(ranks, max(len(trained), 1)))]
    dealt: list[list[int]] = [[] for _ in filled]
    for index in sorted(trained, key=sizes.__getitem__, reverse=True):
        size, rank = filled[0]
        dealt[rank].append(index)
        heapreplace(filled, (size + sizes[index], rank))
    return dealt


def deal_optimizer(copies: Copies, gradients: dict[int, Gradient]) -> None:
    """Only this rank's parameters are stepped; behind each step all are sent to those that did not."""
    editor = copies.editor
    profile, place = editor.step.profile, editor.step.place
    if profile.training is None:
        return
    dealt = deal_parameters(profile, editor.step.mesh.fsdp)
    own = set(dealt[place.fsdp]) if place.fsdp < len(dealt) else set()
    numbers = _find_numbers(profile, sorted(gradients))
    parameters = []
    for index, gradient in gradients.items():
        one = profile.parameters[index]
        here = dict.fromkeys([*([] if one.storage is None else [one.storage]), gradient.kept, *numbers.get(index, [])])
        parameters.append(LocalParameter(one.spec, one.spec if index in own else None, here))
        for storage in numbers.get(index, []) if index not in own else ():
            editor.storages[storage] = editor.storages[storage]._replace(nbytes=0)
    cut_optimizer(editor, parameters)
    _send(editor, [index for rank in dealt for index in rank])


def _find_numbers(profile: Profile, stepped: Sequence[int]) -> dict[int, list[int]]:
    """The storages of numbers that the optimizer keeps of each parameter, such as its count of steps."""
    kept = [at for at, one in enumerate(profile.storages) if one.role == "optimizer state" and one.nbytes <= 8]
    shapes = {tensor.storage: tensor.spec.shape for tensor in profile.tensors}
    numbers = [at for at in kept if shapes.get(at) == ()]
    if not stepped or len(numbers) % len(stepped):
        return {}
    each = len(numbers) // len(stepped)
    return {index: numbers[at * each : (at + 1) * each] for at, index in enumerate(stepped)}


def _send(editor: StepEditor, indices: Sequence[int]) -> None:
    """One broadcast for each parameter. Only those of a later step stand for the step of a run."""
    profile, mesh = editor.step.profile, editor.step.mesh
    for end, is_later in _list_step_ends(profile):
        for index in indices:
            one = profile.parameters[index]
            if one.storage is None:
                continue
            tensor = editor.add_tensor(one.spec, one.storage)
            collective = Collective("broadcast", "fsdp", mesh.fsdp, one.spec.nbytes, end)
            editor.put_op(
                "c10d.broadcast_.default", end, 0, "optimizer", (tensor,), (tensor,), behind=True,
                collective=collective if is_later else None,
            )  # fmt: skip


def _list_step_ends(profile: Profile) -> Iterator[tuple[int, bool]]:
    """The last op of the first step of the optimizer, and of a later one."""
    training = profile.training
    assert training is not None
    for begin, end, is_later in ((training.first, training.steady, False), (training.steady, len(profile.ops), True)):
        if begin < end:
            yield end - 1, is_later
