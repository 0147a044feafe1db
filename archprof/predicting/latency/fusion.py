"""What `torch.compile` joins: pointwise ops, norms, reductions and copies that follow on one another are one kernel.

A tensor between two of them is neither written nor read, unless others need it: a product, the backward, the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof.facts.records import Profile
from archprof.predicting.latency.works import Work, list_works

FUSED_KINDS = frozenset({"pointwise", "norm", "group_norm", "softmax", "reduce", "copy"})


class Fusion(NamedTuple):
    """What an op saves by being joined.

    Attributes:
        joins: it continues the kernel of an op before it, and starts none of its own.
        read, written: bytes that stay in registers.
    """

    joins: bool
    read: int
    written: int

    def apply(self, work: Work) -> Work:
        """The kernel with what is left to read and write."""
        return work._replace(read=max(work.read - self.read, 0), written=max(work.written - self.written, 0))


def find_fusions(profile: Profile, steady: Sequence[int]) -> dict[int, Fusion]:
    """What each op of a pass saves, by its index; those that save nothing are left out."""
    fused = [index for index in steady if list_works(profile.ops[index].signature)[0].kind in FUSED_KINDS]
    members = frozenset(fused)
    storage_of = [tensor.storage for tensor in profile.tensors]
    makers = {storage_of[tensor]: index for index in fused for tensor in profile.ops[index].outputs}
    readers: dict[int, set[int]] = {}
    for index in steady:
        signature, _, _, inputs, _ = profile.ops[index]
        if list_works(signature)[0].kind != "view":
            for tensor in inputs:
                readers.setdefault(storage_of[tensor], set()).add(index)
    found = {}
    for index in fused:
        fusion = _find_fusion(profile, index, members, storage_of, makers, readers)
        if any(fusion):
            found[index] = fusion
    return found


def _find_fusion(
    profile: Profile,
    index: int,
    members: frozenset[int],
    storage_of: list[int],
    makers: dict[int, int],
    readers: dict[int, set[int]],
) -> Fusion:
    op = profile.ops[index]
    before = {storage_of[tensor] for tensor in op.inputs if makers.get(storage_of[tensor], index) < index}
    read = sum(profile.storages[storage].nbytes for storage in before)
    written = 0
    for storage in {storage_of[tensor] for tensor in op.outputs}:
        kept = profile.storages[storage]
        users = readers.get(storage, set()) - {index}
        if users and users <= members and not kept.saved and kept.died is not None:
            written += kept.nbytes
    return Fusion(bool(before), read, written)
