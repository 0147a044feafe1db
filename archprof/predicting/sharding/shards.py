"""How a tensor is cut along its first dimension: as `torch.chunk` cuts it, the last shards smaller or empty."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from archprof.facts.records import Profile, TensorSpec
from archprof.predicting.sharding.mesh import Mesh


class RankGroup(NamedTuple):
    """Ranks that hold shards of the same sizes.

    Attributes:
        place: the first of them; the axes that cut no data are 0.
        ranks: how many, over all of `dp` and `fsdp`.
    """

    place: Mesh
    ranks: int


def count_padded_rows(rows: int, ranks: int) -> int:
    """Rows of the largest shard, to which the others are padded."""
    return -(-rows // ranks)


def count_local_rows(rows: int, ranks: int, rank: int) -> int:
    """Rows of the shard of one rank: 0 where there are none left."""
    chunk = count_padded_rows(rows, ranks)
    return max(0, min(chunk, rows - rank * chunk))


def cut_spec(spec: TensorSpec, rows: int, dtype: str | None = None) -> TensorSpec:
    """The layout of so many first rows of a tensor, plain; in another dtype, where one is given."""
    item_bytes = spec.item_bytes if dtype in (None, spec.dtype) else None
    return TensorSpec((rows, *spec.shape[1:]), dtype or spec.dtype, None, item_bytes)


def count_padded(spec: TensorSpec, ranks: int) -> int:
    """Elements of a padded shard."""
    return count_padded_rows(spec.shape[0], ranks) * prod(spec.shape[1:])


def list_distinct_places(mesh: Mesh, profile: Profile) -> tuple[RankGroup, ...]:
    """Ranks along the data axes whose shards differ in size, and how many hold each.

    Place 0 holds the most of every parameter.
    """
    rows = {one.spec.shape[0] for one in profile.parameters if one.role == "parameter" and one.spec.shape}
    firsts = sorted({0, *_list_breaks(rows, mesh.fsdp)})
    ends = (*firsts[1:], mesh.fsdp)
    nowhere = Mesh(0, 0, 0, 0, 0)
    return tuple(
        [
            RankGroup(nowhere._replace(fsdp=first), (end - first) * mesh.dp)
            for first, end in zip(firsts, ends, strict=True)
        ]
    )


def _list_breaks(rows: Iterable[int], ranks: int) -> Iterable[int]:
    """The ranks whose shard is the first of a smaller size."""
    for count in rows:
        chunk = max(count_padded_rows(count, ranks), 1)
        for first in (count // chunk, -(-count // chunk)):
            if 0 < first < ranks:
                yield first
