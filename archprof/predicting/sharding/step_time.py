"""How long a step takes at least: what the ranks compute, what they wait for, and the bubble of the pipeline."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from archprof.facts.records import Profile
from archprof.predicting.devices import Device
from archprof.predicting.latency import predict_latency
from archprof.predicting.sharding.cut import place_life
from archprof.predicting.sharding.links import Fabric, bound_seconds, find_path
from archprof.predicting.sharding.ranks import Collective, RankStep

EACH_PASS = ("tp", "ep", "pp")
"""Axes along which every microbatch is sent; gradients of the others are summed once, and parameters gathered once."""


class RankTime(NamedTuple):
    """Seconds of one rank.

    Attributes:
        compute: of one microbatch, forward and backward, as predicted.
        optimizer: of its step.
        exposed: of one microbatch: what is sent and waited for at once.
        ahead: of one microbatch: what is sent beside the work.
        exposed_once, ahead_once: the same of what is sent once a step.
    """

    compute: float
    optimizer: float
    exposed: float
    ahead: float
    exposed_once: float
    ahead_once: float

    @property
    def microbatch(self) -> float:
        """One microbatch, where what is sent beside the work hides in it as far as it can."""
        return max(self.compute, self.ahead) + self.exposed

    def sum_step(self, microbatches: int) -> float:
        """A step without waiting for other stages."""
        return microbatches * self.compute + self.sum_waits(microbatches) + self.optimizer

    def sum_waits(self, microbatches: int) -> float:
        """Of a step, what is sent and waited for, and what beside the work takes longer than it."""
        beyond = microbatches * (self.ahead - self.compute) + self.ahead_once
        return max(beyond, 0.0) + microbatches * self.exposed + self.exposed_once


class StepTime(NamedTuple):
    """The bound of a step, and what is in it, by its slowest rank: seconds.

    Attributes:
        step: in whole.
        compute, optimizer: of the slowest rank.
        communication: what it waits for.
        hidden: what is sent beside its work.
        bubble: waiting for other stages.
    """

    step: float
    compute: float
    optimizer: float
    communication: float
    hidden: float
    bubble: float


def time_rank(step: RankStep, device: Device, fabric: Fabric) -> RankTime:
    """The seconds of a rank.

    Raises:
        UsageError: arithmetic or bandwidth of the device are not known.
    """
    predicted = predict_latency(drop_collectives(step.profile, step.collectives), device)
    optimizer = sum(row.seconds.p50 for row in predicted.rest)
    sums = {(once, ahead): 0.0 for once in (False, True) for ahead in (False, True)}
    for one in step.collectives:
        seconds = bound_seconds(one, find_path(fabric, step.mesh, one.axis, one.group))
        sums[is_once(one), one.is_ahead] += seconds
    compute = predicted.whole.p50 - optimizer
    return RankTime(
        compute, optimizer, sums[False, False], sums[False, True], sums[True, False], sums[True, True]
    )  # fmt: skip


def is_once(collective: Collective) -> bool:
    """Whether it is sent once a step, however many microbatches there are."""
    shared = collective.axis == "pp" and collective.kind == "all-reduce"
    return shared or collective.axis not in EACH_PASS


def drop_collectives(profile: Profile, collectives: Sequence[Collective]) -> Profile:
    """The profile without the ops that stand for what is sent, which take no time of the device itself."""
    dropped = {one.op for one in collectives}
    order = [at for at in range(len(profile.ops)) if at not in dropped]
    training = profile.training
    if training is not None:
        first, steady = (bisect_left(order, at) for at in (training.first, training.steady))
        training = training._replace(first=first, steady=steady)
    storages = tuple([place_life(one, order) for one in profile.storages])
    return replace(profile, ops=tuple([profile.ops[at] for at in order]), storages=storages, training=training)


def join_ranks(times: Sequence[RankTime], by_stage: Sequence[RankTime], microbatches: int, chunks: int) -> StepTime:
    """The bound of all ranks together.

    A pipeline is filled and emptied once: each stage waits for one pass of every other, as many times shorter as it
    has chunks, and the slowest stage has all microbatches to run.

    Args:
        times: of every distinct rank.
        by_stage: the slowest rank of each stage.
    """
    slowest = max(times, key=lambda one: one.sum_step(microbatches))
    longest = max(one.microbatch for one in by_stage)
    bubble = (sum(one.microbatch for one in by_stage) - longest) / chunks
    busy = slowest.sum_step(microbatches)
    work = microbatches * slowest.compute
    hidden = microbatches * slowest.ahead + slowest.ahead_once
    communication = slowest.sum_waits(microbatches)
    return StepTime(busy + bubble, work, slowest.optimizer, communication, min(hidden, work), bubble)
