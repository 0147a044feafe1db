"""The step of one rank: what it runs, holds and sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from archprof.facts.records import Profile
from archprof.predicting.sharding.mesh import Axis, Mesh

CollectiveKind = Literal["all-gather", "reduce-scatter", "all-reduce", "all-to-all", "broadcast", "send", "receive"]


class Collective(NamedTuple):
    """One exchange between ranks.

    Attributes:
        kind: what is done.
        axis: of the mesh, along which.
        group: ranks that take part.
        nbytes: the whole tensor: what an all-gather gives, what a reduce-scatter takes, what an all-reduce sums.
        op: index among the ops of the rank's profile of the op that stands for it.
        is_ahead: it runs beside the ops before it, on a stream of its own, and is waited for where it is used.
        awaited: index of the op that waits for it; `None`: the one behind it.
    """

    kind: CollectiveKind
    axis: Axis
    group: int
    nbytes: int
    op: int
    is_ahead: bool = False
    awaited: int | None = None

    @property
    def sent_bytes(self) -> int:
        """What each rank sends by the ring: (n-1)/n of a gather or scatter, twice that of an all-reduce.

        Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009.
        """
        if self.kind in ("send", "broadcast"):
            return self.nbytes
        if self.kind == "receive":
            return 0
        share = self.nbytes * (self.group - 1)
        return -(-(2 * share if self.kind == "all-reduce" else share) // self.group)


@dataclass(frozen=True)
class RankStep:
    """One step of one rank.

    Attributes:
        mesh: all ranks.
        place: its coordinates, in the order of the mesh's axes.
        profile: its ops, tensors and storages, in the sizes that it holds; collectives are among the ops.
        collectives: in order.
        own_parameters: names of those that no other rank has: its experts, which no data axis cuts or sums.
    """

    mesh: Mesh
    place: Mesh
    profile: Profile
    collectives: tuple[Collective, ...] = ()
    own_parameters: frozenset[str] = frozenset()
