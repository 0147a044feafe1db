"""A stage of a pipeline: the ops and storages of some blocks, what comes from other stages, and what is in flight.

As torch.distributed.pipelining runs it (torch 2.14, `stage.py`):

* Each stage has a buffer for the activations, and one for the gradients, of every microbatch from the start on.
* The outputs of a stage, and what its backward needs, are kept from its forward to its backward.
* What depends on no parameter (positions, masks) is not sent: each stage works it out.
* A parameter that several stages use is held by each of them, and its gradients are summed over them.
* With `fully_shard`, the gradients of all microbatches are summed in whole, and scattered behind the last backward.
* Outputs of the last stage are not collected: `schedule.step(..., return_outputs=False)`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from archprof.predicting.sharding.blocks import assign_stages
from archprof.predicting.sharding.cut import cut_part
from archprof.predicting.sharding.ranks import Collective, RankStep
from archprof.predicting.sharding.schedules import check_schedule, count_chunks, order_passes
from archprof.predicting.sharding.stages import StageBuilder, StagedProfile, WholeSums


@dataclass(frozen=True)
class PipelineOptions:
    """How a model is run in stages.

    Attributes:
        microbatches: that the batch of a data-parallel rank is cut into.
        schedule: see `archprof.predicting.sharding.schedules`.
        balance: of the blocks: by what they cost, or by their number.
        sums: of gradients that are dealt out at the end; `None`: they are not dealt out.
    """

    microbatches: int = 1
    schedule: str = "1f1b"
    balance: str = "cost"
    sums: WholeSums | None = None


PLAIN_PIPELINE = PipelineOptions()


class Pipeline:
    """The step of one microbatch through all layers, as one rank of the other axes runs it, to be cut into stages."""

    def __init__(self, step: RankStep, options: PipelineOptions) -> None:
        mesh = step.mesh
        check_schedule(options.schedule, mesh.pp, options.microbatches)
        self.step, self.profile, self.mesh, self.options = step, step.profile, mesh, options
        self.chunks = count_chunks(options.schedule, mesh.pp)
        self.stages = assign_stages(step.profile, mesh.pp * self.chunks, options.balance)

    @cached_property
    def whole(self) -> StagedProfile:
        """What all stages ask of the whole."""
        return StagedProfile(self.profile, self.stages, self.mesh.pp)

    def take_stage(self, rank: int) -> RankStep:
        """The step of a rank along `pp`, of one microbatch, with the others that are in flight."""
        if self.mesh.pp == 1:
            return self.step
        part = cut_part(self.profile, self._list_ops(rank), self._list_owned(rank))
        passes = order_passes(self.options.schedule, self.mesh.pp, rank, self.options.microbatches)
        own = set(part.ops)
        collectives = [one for one in self.step.collectives if one.op in own]
        place = self.step.place._replace(pp=rank)
        step = RankStep(self.mesh, place, part.profile, tuple([_move(one, part.ops) for one in collectives]))
        return StageBuilder(self.whole, part, step, self.options.sums).build(passes)

    def _list_ops(self, rank: int) -> list[int]:
        """The ops of the rank's stages, and those that need no parameter and whose results these need."""
        profile, stages, pp, depends = self.profile, self.stages, self.mesh.pp, self.whole.depends
        kept = [stage >= 0 and stage % pp == rank for stage in stages]
        wanted: set[int] = set()
        for at in range(len(profile.ops) - 1, -1, -1):
            op = profile.ops[at]
            makes = any(tensor in wanted for tensor in op.outputs) and not any(depends[one] for one in op.outputs)
            if op.phase == "forward" and makes:
                kept[at] = True
            if kept[at]:
                wanted.update(tensor for tensor in op.inputs if not depends[tensor])
        return [at for at, one in enumerate(kept) if one]

    def _list_owned(self, rank: int) -> frozenset[int]:
        """What no op reads, of the first stage: parameters, buffers, inputs."""
        if rank:
            return frozenset()
        profile = self.profile
        ops = [op for op in profile.ops if op.phase != "optimizer"]
        read = {profile.tensors[tensor].storage for op in ops for tensor in op.inputs}
        there = {at for at, one in enumerate(profile.storages) if one.born is None and one.role != "gradient"}
        return frozenset(there - read)


def _move(collective: Collective, ops: Sequence[int]) -> Collective:
    """With the places that its ops have in the stage."""
    awaited = None if collective.awaited is None else min(bisect_left(ops, collective.awaited), len(ops) - 1)
    return collective._replace(op=bisect_left(ops, collective.op), awaited=awaited)
