"""What holds of every profile, whichever pass or file it came from."""

from __future__ import annotations

from archprof.facts.records import Profile


def check_profile(profile: Profile) -> None:
    """Raise `ValueError` on the first invariant that does not hold."""
    _check_tree(profile)
    _check_parameters(profile)
    _check_ops(profile)
    _check_windows(profile)
    _check_storages(profile)
    _check_sums(profile)
    for overlay in profile.overlays:
        overlay.check()
        if strange := {index for index in overlay.calls() if not 0 <= index < len(profile.calls)}:
            raise ValueError(f"{overlay.kind} rows of calls that do not exist: {sorted(strange)}")


def _check_tree(profile: Profile) -> None:
    """Whoever holds a module stands above it, whoever makes a call before it; calls of one module are numbered."""
    for module in profile.modules:
        holder = None if module.parent is None else profile.modules[module.parent]
        if holder is not None and len(holder.path) >= len(module.path):
            raise ValueError(f"module {module.path!r} is held by {holder.path!r}")
    numbers = [0] * len(profile.modules)
    for index, call in enumerate(profile.calls):
        if not 0 <= call.module < len(profile.modules):
            raise ValueError(f"call {index} is of module {call.module}, which does not exist")
        if call.parent is not None and not 0 <= call.parent < index:
            raise ValueError(f"call {index} was made by call {call.parent}, which is not before it")
        if call.number != numbers[call.module]:
            raise ValueError(f"call {index} is number {call.number} of its module after {numbers[call.module]} others")
        numbers[call.module] += 1
    if profile.failure is not None and profile.calls and not 0 <= profile.failure.call < len(profile.calls):
        raise ValueError(f"the forward stopped in call {profile.failure.call}, which does not exist")


def _check_parameters(profile: Profile) -> None:
    names = [tensor.name for tensor in profile.parameters]
    if len(names) != len(set(names)):
        raise ValueError("two parameters of one name")
    for tensor in profile.parameters:
        if not 0 <= tensor.module < len(profile.modules):
            raise ValueError(f"{tensor.name} is of module {tensor.module}, which does not exist")
        if tensor.storage is not None and not 0 <= tensor.storage < len(profile.storages):
            raise ValueError(f"{tensor.name} lies in storage {tensor.storage}, which does not exist")


def _check_ops(profile: Profile) -> None:
    for index, op in enumerate(profile.ops):
        if not 0 <= op.call < len(profile.calls):
            raise ValueError(f"op {index} ({op.name}) is charged to call {op.call}, which does not exist")
        if any(not 0 <= tensor < len(profile.tensors) for tensor in op.inputs + op.outputs):
            raise ValueError(f"op {index} ({op.name}) names a tensor that does not exist")
        told = op.signature.inputs + op.signature.outputs  # nothing, in a profile that was written by hand
        if told and told != tuple(profile.tensors[tensor].spec for tensor in op.inputs + op.outputs):
            raise ValueError(f"op {index} ({op.name}) is of other tensors than its signature says")
    for signature in {id(op.signature): op.signature for op in profile.ops}.values():
        if (signature.status == "unknown") != (signature.macs is None or signature.flops is None):
            costs = f"macs {signature.macs} and flops {signature.flops}"
            raise ValueError(f"{signature.name} is {signature.status} with {costs}")


def _check_windows(profile: Profile) -> None:
    for window in {op.window for op in profile.ops if op.window}:
        dims = {len(part) for part in (window.kernel, window.stride, window.padding, window.dilation)}
        if len(dims) != 1 or not all((*window.stride, *window.dilation, window.groups)):
            raise ValueError(f"{window} is no window")


def _check_storages(profile: Profile) -> None:
    """Each is made once and freed at most once, after that."""
    for index, storage in enumerate(profile.storages):
        moments = [moment for moment in (storage.born, storage.died) if moment is not None]
        if moments != sorted(moments):
            raise ValueError(f"storage {index} died after op {storage.died}, before op {storage.born} made it")
        if storage.born is not None and not 0 <= storage.born < len(profile.ops) + (storage.role != "activation"):
            raise ValueError(f"storage {index} was made by op {storage.born}, which does not exist")
        if storage.died is not None and storage.died >= max(len(profile.ops), 1):
            raise ValueError(f"storage {index} died after op {storage.died}, which does not exist")
    if any(not 0 <= tensor.storage < len(profile.storages) for tensor in profile.tensors):
        raise ValueError("a tensor names a storage that does not exist")
    training = profile.training
    if training is not None and not training.first <= training.steady <= len(profile.ops):
        raise ValueError(f"a first step from op {training.first} on, and a later one from op {training.steady} on")


def _check_sums(profile: Profile) -> None:
    """Rows sum to ops, and to the parameters of the model."""
    totals = profile.totals
    for phase, total in (("forward", totals.macs), ("backward", totals.backward_macs or 0)):
        column = "macs" if phase == "forward" else "backward_macs"
        rows = sum(getattr(cost, column) or 0 for cost in profile.costs)
        if not total == rows == sum(op.macs or 0 for op in profile.ops if op.phase == phase):
            raise ValueError(f"{phase} MACs: the rows do not sum to the ops")
    owned = sum(tensor.spec.numel for tensor in profile.parameters if tensor.role == "parameter")
    if owned != totals.params:
        raise ValueError(f"the totals have {totals.params} parameters, the model has {owned}")
    in_rows = sum(row.params for row in profile.layers)
    if profile.calls and owned != in_rows:
        raise ValueError(f"the rows own {in_rows} parameters, the model has {owned}")
    if profile.lacks_calls and totals.complete:
        raise ValueError("no part of the model was called, and its totals say that they are complete")
