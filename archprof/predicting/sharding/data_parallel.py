"""`DistributedDataParallel`: a whole copy on every rank; gradients are reduced in buckets while the backward goes on.

In the steady state: from the second step on, buckets hold gradients in the order in which the backward made them.
Where it does not reach all that trains, torch is told so (`find_unused_parameters`) and leaves the buckets as they
were made, last parameters first.
"""

from __future__ import annotations

from typing import NamedTuple

from archprof.facts.records import TensorSpec
from archprof.predicting.sharding.buckets import fill_buckets, list_limits
from archprof.predicting.sharding.copies import Copies
from archprof.predicting.sharding.edit import Place
from archprof.predicting.sharding.gradients import Gradient
from archprof.predicting.sharding.optimizer_shards import LocalParameter, cut_optimizer
from archprof.predicting.sharding.units_walk import Buffer


class _Member(NamedTuple):
    """A parameter of a bucket; one without a gradient has its place there all the same."""

    spec: TensorSpec
    gradient: Gradient | None


def reduce_in_buckets(copies: Copies, gradients: dict[int, Gradient]) -> None:
    """The backward with its buckets, which are there before the step and stay."""
    profile = copies.editor.step.profile
    last = max((at for at, op in enumerate(profile.ops) if op.phase == "backward"), default=None)
    if last is None:
        return
    own = copies.editor.step.own_parameters
    trained = [
        at
        for at, one in enumerate(profile.parameters)
        if one.trainable and one.role == "parameter" and one.name not in own
    ]
    members = [_Member(profile.parameters[at].spec, gradients.get(at)) for at in trained]
    run = _Backward(copies, last)
    for bucket in _fill(copies, members):
        run.add_bucket(bucket)
    if any(one.gradient is None for one in members):
        run.reduce_used(len(members))
    run.finish()


def _fill(copies: Copies, members: list[_Member]) -> list[list[_Member]]:
    limits = list_limits(copies.options.bucket_bytes)
    if any(one.gradient is None for one in members):
        buckets = sorted(fill_buckets([one.spec for one in members], limits), reverse=True)
    else:
        members = sorted(members, key=lambda one: one.gradient.ready if one.gradient else 0)
        buckets = fill_buckets([one.spec for one in members], limits)
    return [[members[at] for at in bucket] for bucket in buckets]


class _Backward:
    """Buckets are reduced in their order, each once all its gradients are in it."""

    def __init__(self, copies: Copies, last: int) -> None:
        self.copies, self.editor, self.last = copies, copies.editor, last
        self.now = 0  # the op behind which the last bucket was complete
        self.reductions: list[Place] = []
        self.views: list[tuple[int, Gradient, TensorSpec]] = []

    def add_bucket(self, bucket: list[_Member]) -> None:
        """Copy each gradient in when the backward is done with it, and reduce them together."""
        flat = self.copies.add_flat(sum(one.spec.numel for one in bucket), bucket[0].spec.dtype)
        for spec, gradient in bucket:
            if gradient is not None:
                self._copy_in(flat, gradient, spec)
                self.now = max(self.now, gradient.ready)
        self._reduce(flat, self.now)

    def _copy_in(self, flat: Buffer, gradient: Gradient, spec: TensorSpec) -> None:
        editor, at = self.editor, gradient.ready
        view = editor.add_tensor(spec, flat.storage)
        self.views.append((view, gradient, spec))
        in_place = self.copies.options.gradients_in_buckets
        if gradient.earlier is not None and in_place:  # what was added to is the bucket
            editor.storages[gradient.earlier] = editor.storages[gradient.earlier]._replace(nbytes=0)
            return
        whole = editor.add_tensor(spec, gradient.kept)
        call = editor.ops[at].call
        place = editor.put_op("aten.copy_.default", at, call, "backward", (view, whole), (view,), behind=True)
        if in_place:
            editor.move_death(gradient.kept, place)

    def _reduce(self, flat: Buffer, at: int) -> None:
        call = self.editor.ops[at].call
        self.reductions.append(self.copies.put_collective("all-reduce", flat.tensor, at, call, "backward"))

    def reduce_used(self, count: int) -> None:
        """Which parameters some rank has used, where one was not."""
        self._reduce(self.copies.add_flat(count, "int32"), self.last)

    def finish(self) -> None:
        """The backward waits for what was reduced; gradients are copied back, or are the buckets."""
        editor, end = self.editor, self.editor.mark(self.last, behind=True)
        for place in self.reductions:
            editor.await_at(place, end)
        if self.copies.options.gradients_in_buckets:
            cut_optimizer(editor, [self._describe(*view) for view in self.views])
            return
        for view, gradient, spec in self.views:
            whole = editor.add_tensor(spec, gradient.kept)
            editor.put_op("aten.copy_.default", self.last, 0, "backward", (whole, view), (whole,), behind=True)

    @staticmethod
    def _describe(view: int, gradient: Gradient, spec: TensorSpec) -> LocalParameter:
        return LocalParameter(spec, spec, {gradient.kept: view})
