"""Parameters of a unit, gathered before they are used and freed: torch's `unshard`, `wait_for_unshard`, `reshard`."""

from __future__ import annotations

from archprof.facts.records import TensorSpec
from archprof.predicting.sharding.ranks import Collective
from archprof.predicting.sharding.units_walk import Buffer, Moment, ParamGroup, ShardedParameter, UnitsWalk


def unshard(walk: UnitsWalk, group: ParamGroup, at: Moment) -> None:
    """Gather into one flat buffer, unless that was done ahead, or the parameters are whole."""
    if group.pending is not None or group.whole is not None:
        return
    editor, shards = walk.editor, [one.shard.tensor for one in group.parameters]
    cast = _cast_shards(walk, group, at, shards)
    flat = walk.add_flat(group.parameters, walk.cut.shards)
    inputs = shards if cast is None else [cast.tensor]
    editor.move_birth(flat.storage, walk.put("fsdp.all_gather_copy_in.default", at, inputs, [flat]))
    nbytes = editor.tensors[flat.tensor].spec.nbytes
    collective = Collective("all-gather", "fsdp", walk.cut.shards, nbytes, at.position, is_ahead=True)
    place = walk.put("c10d._allgather_base_.default", at, [flat.tensor], [flat], collective)
    if cast is not None:
        editor.move_death(cast.storage, place)
    group.pending = (flat, place)


def _cast_shards(walk: UnitsWalk, group: ParamGroup, at: Moment, shards: list[int]) -> Buffer | None:
    """A flat copy of the shards in the dtype in which they are gathered, where they are stored in another."""
    if all(one.whole.dtype == one.local.dtype for one in group.parameters):
        return None
    flat = walk.add_flat(group.parameters, 1)
    walk.editor.move_birth(flat.storage, walk.put("aten._foreach_copy_.default", at, shards, [flat]))
    return flat


def wait_for_unshard(walk: UnitsWalk, group: ParamGroup, at: Moment) -> None:
    """Copy the parameters out of the flat buffer. In the forward it stays until the next unit has done so."""
    if group.pending is None:
        return
    flat, collective = group.pending
    outputs = [_add_whole(walk, one) for one in group.parameters]
    place = walk.put("fsdp.split_with_sizes_copy.default", at, [flat.tensor], outputs)
    walk.editor.await_at(collective, place)
    for one in outputs:
        walk.editor.move_birth(one.storage, place)
    group.whole, group.pending = outputs, None
    group.lives.append((place, None, outputs))
    if at.phase == "forward":
        free_gathered(walk, at)
        walk.gathered = flat
    else:
        walk.editor.move_death(flat.storage, place)


def _add_whole(walk: UnitsWalk, one: ShardedParameter) -> Buffer:
    """A gathered parameter: its storage holds the padding of all ranks."""
    padded = TensorSpec((one.padded * walk.cut.shards,), one.whole.dtype, None, one.whole.item_bytes)
    return walk.add(one.whole, "gathered", padded.nbytes)


def keep_whole(walk: UnitsWalk, group: ParamGroup) -> None:
    """Parameters that a pass before this one gathered and did not free."""
    group.whole = [_add_whole(walk, one) for one in group.parameters]
    group.lives.append(((-1, 0, 0), None, group.whole))


def free_gathered(walk: UnitsWalk, at: Moment) -> None:
    """The flat buffer of the forward's last gather goes."""
    if walk.gathered is not None:
        walk.editor.move_death(walk.gathered.storage, walk.mark(at))
        walk.gathered = None


def reshard(walk: UnitsWalk, group: ParamGroup, at: Moment) -> None:
    """Free the gathered parameters."""
    if group.whole is None:
        return
    moment = walk.mark(at)
    for one in group.whole:
        walk.editor.move_death(one.storage, moment)
    begin, _, wholes = group.lives[-1]
    group.lives[-1] = (begin, moment, wholes)
    group.whole = None


def drop_pending(walk: UnitsWalk, group: ParamGroup, at: Moment) -> None:
    """A gather ahead of a unit that then did not run is given up."""
    if group.pending is not None:
        walk.editor.move_death(group.pending[0].storage, walk.mark(at))
        group.pending = None
