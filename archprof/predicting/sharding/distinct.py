"""Which ranks of a mesh do the same: one of each is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archprof.facts.records import Profile
from archprof.predicting.sharding.mesh import Mesh


class Alike(NamedTuple):
    """Ranks along an axis that hold pieces of the same sizes: the first of them, and how many."""

    first: int
    size: int


def group_shards(lengths: Iterable[int], ranks: int) -> list[Alike]:
    """Ranks in groups, where dimensions of these lengths are dealt out as `torch.chunk` does: the last get less."""
    starts = {0}
    for length in lengths:
        each = -(-length // ranks)
        full = length // each if each else 0
        starts.update(at for at in (full, full + bool(length % each if each else 0)) if at < ranks)
    ends = [*sorted(starts)[1:], ranks]
    return [Alike(first, end - first) for first, end in zip(sorted(starts), ends, strict=True)]


def list_places(profile: Profile, mesh: Mesh, *, by_parameter: bool = False) -> Iterator[tuple[Mesh, int]]:
    """A place along `fsdp` and `tp` of each group of ranks that do the same in a stage, and how many they are.

    Args:
        profile: of the stage.
        mesh: all ranks.
        by_parameter: along `fsdp`, whole parameters are dealt out, so that every rank has others.
    """
    shapes = [one.spec.shape for one in profile.parameters if one.role == "parameter"]
    along_fsdp = [Alike(at, 1) for at in range(mesh.fsdp)] if by_parameter else _group_rows(shapes, mesh)
    along_tp = group_shards({size for shape in shapes for size in shape if size > 1}, mesh.tp)
    for fsdp in along_fsdp:
        for tp in along_tp:
            yield Mesh(0, 0, fsdp.first, 0, tp.first), mesh.dp * fsdp.size * tp.size


def _group_rows(shapes: Iterable[tuple[int, ...]], mesh: Mesh) -> list[Alike]:
    """By the first dimension of the parameters, whole or cut over `tp`."""
    rows = {shape[0] if shape else 1 for shape in shapes}
    return group_shards(rows | {-(-size // mesh.tp) for size in rows}, mesh.fsdp)
