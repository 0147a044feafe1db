"""A model laid over a mesh: every distinct rank once, what it holds and sends, and the least time of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.predicting.devices import Device
from archprof.predicting.memory import MemoryPrediction, predict_memory
from archprof.predicting.memory_capacity import Verdict, judge
from archprof.predicting.sharding.data import shard_data
from archprof.predicting.sharding.data_options import PLAIN_DATA, DataOptions
from archprof.predicting.sharding.distinct import Alike, group_shards
from archprof.predicting.sharding.expert_parallel import shard_experts
from archprof.predicting.sharding.links import Fabric, find_path
from archprof.predicting.sharding.mesh import Axis, Mesh
from archprof.predicting.sharding.pipeline import PLAIN_PIPELINE, Pipeline, PipelineOptions
from archprof.predicting.sharding.places import list_distinct_places
from archprof.predicting.sharding.plan import Plan, find_model_plan
from archprof.predicting.sharding.ranks import CollectiveKind, RankStep
from archprof.predicting.sharding.schedules import count_chunks, share_bubble
from archprof.predicting.sharding.sequence import add_sequence_parallel
from archprof.predicting.sharding.stages import WholeSums
from archprof.predicting.sharding.step_time import RankTime, StepTime, is_once, join_ranks, time_rank
from archprof.predicting.sharding.tensor_parallel import shard_tensors
from archprof.predicting.workspaces import choose_workspaces


@dataclass(frozen=True)
class ShardOptions:
    """How the axes of a mesh are used.

    Attributes:
        pipeline: stages along `pp`.
        data: copies along `dp`, and what is dealt out along `fsdp`.
        plan: which layers are cut over `tp`; `None`: the model's own plan.
        sequence_parallel: between them, the sequence is cut.
    """

    pipeline: PipelineOptions = PLAIN_PIPELINE
    data: DataOptions = PLAIN_DATA
    plan: Plan | None = None
    sequence_parallel: bool = False


PLAIN_SHARD = ShardOptions()


class Traffic(NamedTuple):
    """What a rank sends in a step by one kind of collective along one axis.

    Attributes:
        axis, kind, group: of the collective.
        link: over which.
        times: how often.
        sent: bytes that the rank sends.
        hidden: bytes of these that are sent beside the work.
    """

    axis: Axis
    kind: CollectiveKind
    group: int
    link: str
    times: int
    sent: int
    hidden: int


@dataclass(frozen=True)
class ShardedRank:
    """One of several ranks that do the same.

    Attributes:
        step: of one microbatch.
        count: how many ranks are so.
        memory: of it.
        time: of it; `None` where no device was named.
    """

    step: RankStep
    count: int
    memory: MemoryPrediction
    time: RankTime | None


@dataclass(frozen=True)
class Sharded:
    """A model over a mesh.

    Attributes:
        profile: of one microbatch on one device.
        mesh, options: as asked for.
        ranks: every distinct one, in the order of the mesh.
        device, fabric: on which times are bounds; `None`: none was named.
        notes: what the reader must know.
    """

    profile: Profile
    mesh: Mesh
    options: ShardOptions
    ranks: tuple[ShardedRank, ...]
    device: Device | None = None
    fabric: Fabric | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def largest(self) -> ShardedRank:
        """The rank that takes most memory."""
        return max(self.ranks, key=lambda one: one.memory.device_used_bytes.value)

    @property
    def microbatches(self) -> int:
        return self.options.pipeline.microbatches

    @property
    def samples(self) -> int:
        """Of a step, on all ranks together."""
        return self.profile.batch * self.microbatches * self.mesh.dp * self.mesh.fsdp

    @property
    def bubble_share(self) -> float:
        """The part of a step that a rank waits for others, by the published formula: as if all stages were alike."""
        return share_bubble(self.options.pipeline.schedule, self.mesh.pp, self.microbatches)

    @cached_property
    def time(self) -> StepTime | None:
        """The least time of a step; `None` without a device."""
        times = [one.time for one in self.ranks if one.time is not None]
        if not times:
            return None
        by_stage: dict[int, RankTime] = {}
        for one in self.ranks:
            stage, time = one.step.place.pp, one.time
            if time is not None and (stage not in by_stage or time.microbatch > by_stage[stage].microbatch):
                by_stage[stage] = time
        chunks = count_chunks(self.options.pipeline.schedule, self.mesh.pp)
        return join_ranks(times, [*by_stage.values()], self.microbatches, chunks)

    @cached_property
    def verdict(self) -> Verdict | None:
        """Whether the largest rank fits on the device."""
        return None if self.device is None else judge(self.largest.memory, self.device)


def shard_profile(
    profile: Profile, mesh: Mesh, options: ShardOptions = PLAIN_SHARD, device: Device | None = None,
    fabric: Fabric | None = None,
) -> Sharded:  # fmt: skip
    """Lay a model over a mesh.

    Args:
        profile: of one microbatch, as one rank of the data axes runs it.
        mesh: how many ranks along each axis.
        options: how the axes are used.
        device: whose memory and speed it is held against.
        fabric: what joins the devices: `archprof.predicting.sharding.links.find_fabric`.

    Raises:
        UsageError: the model cannot be laid over that mesh, or its forward failed.
    """
    check_profile_shards(profile, mesh, options)
    options = settle_options(options, mesh)
    workspaces = choose_workspaces(device.name if device else None)
    ranks: list[ShardedRank] = []
    for step, count in list_ranks(profile, mesh, options):
        time = time_rank(step, device, fabric) if device is not None and fabric is not None else None
        _add_rank(ranks, ShardedRank(step, count, predict_memory(step.profile, workspaces), time))
    return Sharded(profile, mesh, options, tuple(ranks), device, fabric)


def _add_rank(ranks: list[ShardedRank], rank: ShardedRank) -> None:
    """Ranks of a stage that turn out to be alike in all that is told are one row."""
    told = [(one.step.place.pp, one.memory, one.step.collectives, one.time) for one in (*ranks, rank)]
    at = told.index(told[-1])
    if at < len(ranks):
        ranks[at] = replace(ranks[at], count=ranks[at].count + rank.count)
    else:
        ranks.append(rank)


def check_profile_shards(profile: Profile, mesh: Mesh, options: ShardOptions) -> None:
    """Raise `UsageError` where a profile cannot be laid over any mesh, or microbatches have no pipeline."""
    if profile.failure is not None:
        where = profile.layers[profile.stopped_row].path if profile.stopped_row is not None else ""
        raise UsageError(
            f"The forward of {profile.model} failed in {where or 'the model itself'}: {profile.failure.message}",
            "A pass that comes to its end.",
            "See how far it came: archprof table MODEL",
        )
    if options.plan is not None:
        options.plan.match(profile)
    if options.pipeline.microbatches > 1 and mesh.pp == 1:
        raise UsageError(
            f"{options.pipeline.microbatches} microbatches go through a pipeline, and {mesh} has none.",
            "Stages along pp.",
            f"Try: --mesh {mesh},pp=2",
        )


def list_ranks(profile: Profile, mesh: Mesh, options: ShardOptions) -> Iterator[tuple[RankStep, int]]:
    """Every distinct rank with its count, one at a time: layers are cut first, then stages, then what each holds."""
    for alike in _group_tensors(profile, mesh):
        step = _cut_layers(RankStep(mesh, Mesh(0, 0, 0, 0, alike.first), profile), options)
        pipeline = Pipeline(step, options.pipeline) if mesh.pp > 1 else None
        for stage in range(mesh.pp):
            part = pipeline.take_stage(stage) if pipeline else step
            for group in list_distinct_places(mesh, part.profile, options.data):
                placed = replace(part, place=part.place._replace(fsdp=group.place.fsdp))
                yield shard_data(placed, options.data), alike.size * group.ranks


def _cut_layers(step: RankStep, options: ShardOptions) -> RankStep:
    """What `tp` and `ep` leave to a rank of the layers."""
    if step.mesh.tp > 1:
        plan = options.plan or find_plan(step.profile)
        plan = add_sequence_parallel(plan, step.profile) if options.sequence_parallel else plan
        step = shard_tensors(step, plan)
    if step.mesh.ep > 1:
        own = options.plan is not None and options.plan.deals_experts
        step = shard_experts(step, options.plan if own and options.plan else find_plan(step.profile, "ep"))
    return step


def _group_tensors(profile: Profile, mesh: Mesh) -> list[Alike]:
    """Ranks along `tp`, by the dimensions that a plan may cut."""
    shapes = [one.spec.shape for one in profile.parameters if one.role == "parameter"]
    return group_shards({size for shape in shapes for size in shape if size > 1}, mesh.tp)


def find_plan(profile: Profile, axis: Literal["tp", "ep"] = "tp") -> Plan:
    """The model's own plan for an axis.

    Raises:
        UsageError: it has none.
    """
    plan = find_model_plan(profile, axis)
    if plan is None:
        what = "layers are cut over tp" if axis == "tp" else "experts are dealt out over ep"
        raise UsageError(
            f"{profile.model} says no plan of how its {what}.",
            "A file of patterns of paths and styles, one line per rule.",
            "Try: --plan plan.toml",
        )
    return plan


def settle_options(options: ShardOptions, mesh: Mesh) -> ShardOptions:
    """How the axes are used together: in a pipeline, units stay whole and gradients are scattered at the end."""
    data = options.data
    if mesh.pp == 1 or mesh.fsdp == 1 or data.level not in ("zero2", "zero3"):
        return options
    pipeline = replace(options.pipeline, sums=WholeSums(data.reduce_dtype))
    return replace(options, pipeline=pipeline, data=replace(data, reshard_after_forward=False))


def sum_traffic(rank: ShardedRank, sharded: Sharded) -> tuple[Traffic, ...]:
    """What a rank sends in a step, by axis and kind."""
    counts: Counter[tuple[Axis, CollectiveKind, int]] = Counter()
    sent: Counter[tuple[Axis, CollectiveKind, int]] = Counter()
    hidden: Counter[tuple[Axis, CollectiveKind, int]] = Counter()
    for one in rank.step.collectives:
        key = one.axis, one.kind, one.group
        times = 1 if is_once(one) else sharded.microbatches
        counts[key] += times
        sent[key] += times * one.sent_bytes
        hidden[key] += times * one.sent_bytes * one.is_ahead
    return tuple([
        Traffic(*key, _name_link(sharded, key[0], key[2]), counts[key], sent[key], hidden[key]) for key in counts
    ])  # fmt: skip


def _name_link(sharded: Sharded, axis: Axis, group: int) -> str:
    return "" if sharded.fabric is None else find_path(sharded.fabric, sharded.mesh, axis, group).name
