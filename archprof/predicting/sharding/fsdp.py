"""`fully_shard` (FSDP2): each parameter cut along its first dimension, gathered by units while it is used.

With copies of the shards along `dp` that is what torch calls hybrid sharding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from archprof.facts.records import Parameter, Storage, TensorSpec
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.fsdp_hooks import run_hooks
from archprof.predicting.sharding.gathered_reads import point_to_gathered
from archprof.predicting.sharding.gradients import Gradient, find_gradients
from archprof.predicting.sharding.mixed_precision import cast_inputs, restore_buffers
from archprof.predicting.sharding.optimizer_shards import LocalParameter, cut_optimizer
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.shards import count_local_rows, count_padded, cut_spec
from archprof.predicting.sharding.unit_checks import check_unit
from archprof.predicting.sharding.units import Unit, find_units
from archprof.predicting.sharding.units_walk import Buffer, Cut, ParamGroup, ShardedParameter, UnitsWalk


def shard_fully(step: RankStep, options: DataOptions) -> RankStep:
    """The step of one rank with its parameters cut along `fsdp`, and copies of the shards along `dp`.

    Raises:
        ArchprofError: units, or parameters in them, that torch refuses.
    """
    profile, editor = step.profile, StepEditor(step)
    walk = UnitsWalk(editor, Cut(step.mesh.fsdp, step.place.fsdp, step.mesh.dp), options)
    gradients = find_gradients(profile)
    groups: dict[int, ParamGroup] = {}
    locals_: dict[int, TensorSpec] = {}
    for unit in find_units(profile, options.units):
        check_unit(profile, unit)
        members = {
            index: _shard_parameter(walk, profile.parameters[index], gradients.get(index))
            for index in unit.parameters
            if profile.parameters[index].name not in step.own_parameters
        }
        if not members:
            continue
        locals_ |= {index: one.local for index, one in members.items()}
        groups[unit.module] = ParamGroup([*members.values()], _reshards(unit, options))
        _keep_earlier_gradients(walk, groups[unit.module])
    locals_ |= restore_buffers(walk, profile)
    cast_inputs(walk, profile)
    run_hooks(walk, groups, profile)
    point_to_gathered(editor, groups.values())
    cut_optimizer(editor, [_describe_local(one) for group in groups.values() for one in group.parameters])
    return _with_parameters(editor.build(), locals_)


def _reshards(unit: Unit, options: DataOptions) -> bool:
    if options.level == "zero2":
        return False
    return unit.module != 0 if options.reshard_after_forward is None else options.reshard_after_forward


def _shard_parameter(walk: UnitsWalk, parameter: Parameter, gradient: Gradient | None) -> ShardedParameter:
    cut, options, storage = walk.cut, walk.options, parameter.storage
    assert storage is not None  # checked
    is_cast = parameter.spec.dtype == options.param_dtype
    dtype = options.stored_dtype if is_cast else parameter.spec.dtype
    whole = parameter.spec._replace(strides=None)
    local = cut_spec(whole, count_local_rows(whole.shape[0], cut.shards, cut.shard), dtype)
    padded = count_padded(whole, cut.shards)
    nbytes = local._replace(shape=(padded,)).nbytes
    walk.editor.storages[storage] = walk.editor.storages[storage]._replace(nbytes=nbytes, dtype=dtype)
    shard = Buffer(walk.editor.add_tensor(local, storage), storage)
    return ShardedParameter(whole, local, padded, shard, gradient)


def _keep_earlier_gradients(walk: UnitsWalk, group: ParamGroup) -> None:
    """What passes before this one left lies in one storage, as each reduction leaves it."""
    earlier = [one for one in group.parameters if one.gradient is not None and one.gradient.earlier is not None]
    if not earlier:
        return
    editor = walk.editor
    nbytes = sum(one.local._replace(shape=(one.padded,)).nbytes for one in earlier)
    storage = editor.add_storage(Storage(nbytes, earlier[0].local.dtype, "gradient", None, None), None, None)
    for one in earlier:
        assert one.gradient is not None
        assert one.gradient.earlier is not None
        one.sharded_gradient = editor.add_tensor(one.local, storage)
        before = one.gradient.earlier
        editor.storages[before] = editor.storages[before]._replace(nbytes=0)


def _describe_local(one: ShardedParameter) -> LocalParameter:
    tensors = {one.shard.storage: one.shard.tensor}
    if one.gradient is not None and one.sharded_gradient is not None:
        tensors[one.gradient.kept] = one.sharded_gradient
    return LocalParameter(one.whole, one.local, tensors)


def _with_parameters(step: RankStep, locals_: Mapping[int, TensorSpec]) -> RankStep:
    parameters = [
        one._replace(spec=locals_[index], nbytes=locals_[index].nbytes) if index in locals_ else one
        for index, one in enumerate(step.profile.parameters)
    ]
    return replace(step, profile=replace(step.profile, parameters=tuple(parameters)))
