"""The part of a profile that some of its ops are: they, what they touch, and their share of the optimizer's step."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from archprof.facts.ops import TENSOR_ARGUMENT, Op, Signature
from archprof.facts.records import Profile, Storage
from archprof.facts.tensors import Tensor


class Part(NamedTuple):
    """A part of a profile.

    Attributes:
        profile: its own numbers for ops, tensors and storages.
        ops: of each of its ops, the index in the whole.
        storages: of each of its storages, the index in the whole.
    """

    profile: Profile
    ops: tuple[int, ...]
    storages: tuple[int, ...]


def cut_part(profile: Profile, kept: Sequence[int], owned: frozenset[int] = frozenset()) -> Part:
    """The part that these ops of the forward and the backward are.

    Args:
        kept: their indices, in order.
        owned: storages that are in it whether or not one of them is read.
    """
    storage_of = [tensor.storage for tensor in profile.tensors]
    ops = [(at, profile.ops[at]) for at in kept]
    held = {*owned, *(storage_of[tensor] for _, op in ops for tensor in (*op.inputs, *op.outputs))}
    known: dict[tuple[int, tuple[int, ...]], Signature] = {}
    for at, op in enumerate(profile.ops):
        if op.phase == "optimizer":
            share = _keep_share(op, storage_of, held, known)
            if share is not None:
                ops.append((at, share))
    return _compact(profile, ops, held)


def _keep_share(
    op: Op, storage_of: Sequence[int], held: set[int], known: dict[tuple[int, tuple[int, ...]], Signature]
) -> Op | None:
    """What an op of the optimizer does to tensors that are held; one of lists does so at the places where one is.

    What it makes of them is held, too.
    """
    count = _count_listed(op.signature)
    tensors = (*op.inputs, *op.outputs)
    if count is None:
        if not any(storage_of[tensor] in held for tensor in tensors) and not _is_small(op):
            return None
        held.update(storage_of[tensor] for tensor in tensors)
        return op
    places = tuple([
        place for place in range(count) if any(storage_of[tensor] in held for tensor in tensors[place::count])
    ])  # fmt: skip
    if not places:
        return None
    pick = [tensors[row * count + place] for row in range(len(tensors) // count) for place in places]
    held.update(storage_of[tensor] for tensor in pick)
    if len(places) == count:
        return op
    signature = known.get((id(op.signature), places)) or _shorten(op.signature, places, count)
    known[id(op.signature), places] = signature
    split = len(op.inputs) // count * len(places)
    return op._replace(signature=signature, inputs=tuple(pick[:split]), outputs=tuple(pick[split:]))


def _is_small(op: Op) -> bool:
    """Counters of steps are nobody's, and all keep them."""
    return all(spec.numel <= 1 for spec in (*op.signature.inputs, *op.signature.outputs))


def _count_listed(signature: Signature) -> int | None:
    """How many tensors each list holds that an op takes; `None` where it takes tensors one by one."""
    lengths = {len(arg) for arg in signature.args if isinstance(arg, tuple) and arg and arg[0] == TENSOR_ARGUMENT}
    count = lengths.pop() if len(lengths) == 1 else None
    if count is None or len(signature.inputs) % count or len(signature.outputs) % count:
        return None
    return count


def _shorten(signature: Signature, places: Sequence[int], count: int) -> Signature:
    """The signature of an op of lists, where only these places are left; counts by their share of the elements."""
    inputs, outputs = (
        tuple([side[row * count + place] for row in range(len(side) // count) for place in places])
        for side in (signature.inputs, signature.outputs)
    )

    def scale(total: int | None) -> int | None:
        whole = sum(spec.nbytes for spec in (*signature.inputs, *signature.outputs))
        return total and total * sum(spec.nbytes for spec in (*inputs, *outputs)) // max(whole, 1)

    args = tuple([
        tuple([arg[place] for place in places]) if isinstance(arg, tuple) and len(arg) == count else arg
        for arg in signature.args
    ])  # fmt: skip
    return signature._replace(
        args=args, inputs=inputs, outputs=outputs, macs=scale(signature.macs), flops=scale(signature.flops),
        bytes_read=scale(signature.bytes_read) or 0, bytes_written=scale(signature.bytes_written) or 0,
    )  # fmt: skip


def _compact(profile: Profile, ops: list[tuple[int, Op]], held: set[int]) -> Part:
    """The part, with new numbers for all that is left."""
    order = [at for at, _ in ops]
    storages = sorted(held)
    place_of = {storage: place for place, storage in enumerate(storages)}
    used = sorted({tensor for _, op in ops for tensor in (*op.inputs, *op.outputs)})
    tensor_of = {tensor: place for place, tensor in enumerate(used)}
    made = [
        op._replace(
            inputs=tuple([tensor_of[at] for at in op.inputs]), outputs=tuple([tensor_of[at] for at in op.outputs])
        )
        for _, op in ops
    ]
    training = profile.training
    if training is not None:
        training = training._replace(
            first=bisect_left(order, training.first), steady=bisect_left(order, training.steady)
        )
    part = replace(
        profile,
        ops=tuple(made),
        tensors=tuple([Tensor(profile.tensors[at].spec, place_of[profile.tensors[at].storage]) for at in used]),
        storages=tuple([place_life(profile.storages[at], order) for at in storages]),
        parameters=tuple([
            one._replace(storage=None if one.storage is None else place_of[one.storage])
            for one in profile.parameters if one.storage is None or one.storage in place_of
        ]),
        training=training,
        overlays=(),
    )  # fmt: skip
    return Part(part, tuple(order), tuple(storages))


def place_life(storage: Storage, order: Sequence[int]) -> Storage:
    """A storage that an op elsewhere makes is there from the next op on; one that dies elsewhere, to the last here."""
    born, died = storage.born, storage.died
    last = max(len(order) - 1, 0)
    first = None if born is None else min(bisect_left(order, born), last)
    end = None if died is None else max(bisect_right(order, died) - 1, first or 0)
    return storage._replace(born=first, died=end)
