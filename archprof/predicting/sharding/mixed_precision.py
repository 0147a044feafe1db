"""What the mixed precision of `fully_shard` leaves as it is stored: buffers, and what the caller gives.

The pass was traced as it computes, in one dtype all over.
"""

from __future__ import annotations

from archprof.facts.records import Profile, Storage, TensorSpec
from archprof.predicting.sharding.units_walk import UnitsWalk


def restore_buffers(walk: UnitsWalk, profile: Profile) -> dict[int, TensorSpec]:
    """Buffers stay in the dtype in which they are stored: their layouts, by index of the parameter."""
    editor, options = walk.editor, walk.options
    stored: dict[int, TensorSpec] = {}
    for index, one in enumerate(profile.parameters):
        if one.role == "buffer" and one.spec.dtype == options.param_dtype and one.storage is not None:
            spec = stored[index] = one.spec._replace(dtype=options.stored_dtype, item_bytes=None)
            changed = editor.storages[one.storage]._replace(nbytes=spec.nbytes, dtype=spec.dtype)
            editor.storages[one.storage] = changed
    return stored


def cast_inputs(walk: UnitsWalk, profile: Profile) -> None:
    """Before the forward, what the caller gives is copied in the dtype of the pass, and stays with the caller."""
    editor, options = walk.editor, walk.options
    if options.param_dtype in (None, options.stored_dtype) or not profile.ops:
        return
    given = {at for at, one in enumerate(profile.storages) if one.role == "input" and one.dtype == options.param_dtype}
    last = _find_last_uses(profile, given)
    for tensor, (spec, storage) in enumerate(profile.tensors):
        if storage in given:
            given.discard(storage)
            stored = spec._replace(dtype=options.stored_dtype, item_bytes=None)
            source = editor.add_storage(Storage(stored.nbytes, stored.dtype, "input", None, None), None, None)
            inputs = (editor.add_tensor(stored, source),)
            place = editor.put_op("aten._to_copy.default", 0, 0, "forward", inputs, (tensor,))
            editor.storages[storage] = editor.storages[storage]._replace(role="activation")
            editor.move_birth(storage, place)
            editor.move_death(storage, (last[storage], 0, 0))


def _find_last_uses(profile: Profile, storages: set[int]) -> dict[int, int]:
    """The last op of the forward, as whose arguments they are held, or a later one that reads them."""
    end = max((at for at, op in enumerate(profile.ops) if op.phase == "forward"), default=0)
    last = dict.fromkeys(storages, end)
    for position, op in enumerate(profile.ops):
        for tensor in op.inputs:
            storage = profile.tensors[tensor].storage
            if storage in last:
                last[storage] = max(last[storage], position)
    return last
