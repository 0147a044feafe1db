"""Ranks of the data axes that hold shards of the same sizes: one of each stands for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archprof.facts.records import Profile
from archprof.predicting.sharding.data_options import PLAIN_DATA, DataOptions
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.shards import count_padded_rows
from archprof.predicting.sharding.zero import deal_parameters

NOWHERE = Mesh(0, 0, 0, 0, 0)


class RankGroup(NamedTuple):
    """Ranks that hold shards of the same sizes.

    Attributes:
        place: the first of them; the axes that cut no data are 0.
        ranks: how many, over all of `dp` and `fsdp`.
    """

    place: Mesh
    ranks: int


def list_distinct_places(mesh: Mesh, profile: Profile, options: DataOptions = PLAIN_DATA) -> tuple[RankGroup, ...]:
    """The groups of ranks along the data axes, by their first place.

    Args:
        mesh: all ranks.
        profile: as `shard_data` takes it: of a stage, or with what tensor parallelism left of each layer.
        options: what is dealt out. Rank 0 holds the most of every parameter that is cut.
    """
    firsts = _list_firsts(mesh, profile, options)
    groups = [RankGroup(NOWHERE._replace(fsdp=first), ranks * mesh.dp) for first, ranks in firsts]
    return tuple(sorted(groups))


def _list_firsts(mesh: Mesh, profile: Profile, options: DataOptions) -> Iterable[tuple[int, int]]:
    """The first rank of each group along `fsdp`, and how many are in it."""
    if options.level == "ddp" or mesh.fsdp == 1:
        return [(0, mesh.fsdp)]
    if options.level == "zero1":
        return _group_dealt(profile, mesh.fsdp)
    rows = {one.spec.shape[0] for one in profile.parameters if one.role == "parameter" and one.spec.shape}
    firsts = sorted({0, *_list_breaks(rows, mesh.fsdp)})
    return [(first, end - first) for first, end in zip(firsts, [*firsts[1:], mesh.fsdp], strict=True)]


def _list_breaks(rows: Iterable[int], ranks: int) -> Iterator[int]:
    """The ranks whose shard is the first of a smaller size."""
    for count in rows:
        chunk = max(count_padded_rows(count, ranks), 1)
        for first in (count // chunk, -(-count // chunk)):
            if 0 < first < ranks:
                yield first


def _group_dealt(profile: Profile, ranks: int) -> Iterator[tuple[int, int]]:
    """Ranks that step parameters of the same shapes; those that step none are behind all others."""
    dealt = deal_parameters(profile, ranks)
    alike: dict[object, list[int]] = {}
    for rank, indices in enumerate(dealt):
        alike.setdefault(tuple(sorted(profile.parameters[at].spec[:2] for at in indices)), []).append(rank)
    for members in alike.values():
        yield members[0], len(members)
    if len(dealt) < ranks:
        yield len(dealt), ranks - len(dealt)
