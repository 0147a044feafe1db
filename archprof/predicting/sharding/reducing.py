"""Gradients of a unit, reduced and scattered once the backward has made them: torch's `post_backward`."""

from __future__ import annotations

from archprof.predicting.sharding.edit import Place
from archprof.predicting.sharding.gathering import reshard
from archprof.predicting.sharding.ranks import Collective
from archprof.predicting.sharding.units_walk import Buffer, Moment, ParamGroup, ShardedParameter, UnitsWalk


def finish_backward(walk: UnitsWalk, group: ParamGroup, at: Moment) -> None:
    """Free the parameters of a unit, and reduce those of its gradients that are there by now."""
    ready = [one for one in group.parameters if _is_ready(one, at)]
    reshard(walk, group, at)
    free_scattered(walk, at)
    if ready:
        release_reduced(walk, group, at)
        _reduce(walk, group, ready, at)


def _is_ready(one: ShardedParameter, at: Moment) -> bool:
    return one.gradient is not None and not one.is_reduced and one.gradient.ready <= at.position


def free_scattered(walk: UnitsWalk, at: Moment) -> None:
    """The input of the last reduce-scatter goes, for which the next one waits."""
    if walk.scattered is not None:
        buffer, collective = walk.scattered
        moment = walk.mark(at)
        walk.editor.move_death(buffer.storage, moment)
        walk.editor.await_at(collective, moment)
        walk.scattered = None


def await_reduced(walk: UnitsWalk, at: Moment) -> None:
    """At its end the backward waits for the all-reduces over copies."""
    moment = walk.mark(at)
    for collective in walk.reductions:
        walk.editor.await_at(collective, moment)


def release_reduced(walk: UnitsWalk, group: ParamGroup, at: Moment) -> None:
    """What the all-reduce over copies held goes."""
    if group.reduced is not None:
        walk.editor.move_death(group.reduced.storage, walk.mark(at))
        group.reduced = None


def _reduce(walk: UnitsWalk, group: ParamGroup, ready: list[ShardedParameter], at: Moment) -> None:
    editor, cut = walk.editor, walk.cut
    dtype = walk.options.reduce_dtype or ready[0].whole.dtype
    flat = walk.add_flat(ready, cut.shards, dtype)
    place = walk.put("fsdp.chunk_cat.default", at, [_find_gradient(walk, one) for one in ready], [flat])
    editor.move_birth(flat.storage, place)
    for one in ready[:-1]:  # torch's loop holds on to the last
        _end_gradient(walk, one, place)
    out = walk.add_flat(ready, 1, dtype)
    nbytes = editor.tensors[flat.tensor].spec.nbytes
    collective = Collective("reduce-scatter", "fsdp", cut.shards, nbytes, at.position, is_ahead=True)
    place = walk.put("c10d._reduce_scatter_base_.default", at, [flat.tensor], [out], collective)
    editor.move_birth(out.storage, place)
    walk.scattered = (flat, place)
    if cut.copies > 1:
        nbytes = editor.tensors[out.tensor].spec.nbytes
        collective = Collective("all-reduce", "dp", cut.copies, nbytes, at.position, is_ahead=True)
        place = walk.put("c10d.allreduce_.default", at, [out.tensor], [out], collective)
        walk.reductions.append(place)
    place = _keep_reduced(walk, group, ready, out, at) or place
    _end_gradient(walk, ready[-1], place)


def _find_gradient(walk: UnitsWalk, one: ShardedParameter) -> int:
    assert one.gradient is not None
    return walk.editor.add_tensor(one.whole, one.gradient.storage)


def _end_gradient(walk: UnitsWalk, one: ShardedParameter, place: Place) -> None:
    assert one.gradient is not None
    one.is_reduced = True
    walk.editor.move_death(one.gradient.storage, place)
    if one.gradient.addition is not None:
        walk.editor.drop(one.gradient.addition)


def _keep_reduced(
    walk: UnitsWalk, group: ParamGroup, ready: list[ShardedParameter], out: Buffer, at: Moment
) -> Place | None:
    """The reduced gradients, in the dtype of the shards: kept, or added to what there was; the last op of that."""
    place, kept = None, out
    if ready[0].local.dtype != walk.editor.tensors[out.tensor].spec.dtype:
        kept = walk.add_flat(ready, 1, ready[0].local.dtype)
        place = walk.put("aten._to_copy.default", at, [out.tensor], [kept])
        walk.editor.move_birth(kept.storage, place)
        _end_reduced(walk, group, out, place)
    added = [one for one in ready if one.sharded_gradient is not None]
    for one in ready:
        part = walk.editor.add_tensor(one.local, kept.storage)
        if one.sharded_gradient is None:
            one.sharded_gradient = part
        else:
            inputs = [one.sharded_gradient, part]
            place = walk.put("aten.add_.Tensor", at, inputs, [Buffer(one.sharded_gradient, kept.storage)])
    if len(added) < len(ready):
        walk.editor.storages[kept.storage] = walk.editor.storages[kept.storage]._replace(role="gradient")
    elif kept is out and place is not None:
        _end_reduced(walk, group, out, place)
    else:
        walk.editor.move_death(kept.storage, place)
    return place


def _end_reduced(walk: UnitsWalk, group: ParamGroup, out: Buffer, place: Place) -> None:
    """What was reduced has been copied; an all-reduce over copies holds it until the end of the backward."""
    if walk.cut.copies > 1:
        group.reduced = out
    else:
        walk.editor.move_death(out.storage, place)
