"""What torch's `fully_shard` refuses, said before any work."""

from __future__ import annotations

from archprof.errors import ArchprofError, UnknownName
from archprof.facts.records import ITEM_BYTES, Parameter, Profile, TensorSpec
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.units import Unit


def check_unit(profile: Profile, unit: Unit) -> None:
    """Raise where torch would.

    Raises:
        ArchprofError: a parameter without dimensions, one whose place in memory is not known, or trainable ones of
            several dtypes in one unit.
    """
    path = profile.modules[unit.module].path or "the model"
    parameters = [profile.parameters[index] for index in unit.parameters]
    if unit.module and profile.lacks_calls:
        raise ArchprofError(
            f"Calls of the parts of {profile.model} cannot be seen, and so not when {path} gathers its parameters.",
            "A model whose modules are called in Python.",
            "Try --zero 1, or a mesh of copies alone: dp=8.",
        )
    for one in parameters:
        _check_parameter(one)
    dtypes = sorted({one.spec.dtype for one in parameters if one.trainable})
    if len(dtypes) > 1:
        raise ArchprofError(
            f"The unit {path} has trainable parameters in {' and '.join(dtypes)}.",
            "torch's fully_shard takes one dtype in a unit.",
            "Make units of what has one dtype, with --units.",
        )


def _check_parameter(one: Parameter) -> None:
    if not one.spec.shape:
        raise ArchprofError(
            f"{one.name} is a number without dimensions, which cannot be cut.",
            "torch's fully_shard takes tensors of one dimension or more.",
            "Give it the shape (1,).",
        )
    if not _is_contiguous(one.spec):
        raise ArchprofError(
            f"{one.name} does not lie row by row: {one.spec.shape} with strides {one.spec.strides}.",
            "torch's fully_shard takes contiguous parameters.",
            "Make it so: module.to(memory_format=torch.contiguous_format).",
        )
    if one.storage is None:
        raise ArchprofError(f"Where {one.name} lies is not known, in this profile.", "", "Trace the model again.")


def _is_contiguous(spec: TensorSpec) -> bool:
    """Whether it lies row by row; a dimension of length 1 may have any stride."""
    expected = 1
    for size, stride in reversed([*zip(spec.shape, spec.strides or (), strict=False)]):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def check_dtypes(profile: Profile, options: DataOptions) -> None:
    """Raise where parameters are to be gathered in a dtype in which the pass did not compute.

    Raises:
        ArchprofError: there is no such dtype, or the pass was traced in another.
    """
    for dtype in (options.param_dtype, options.reduce_dtype, options.stored_dtype):
        if dtype is not None and not (dtype in ITEM_BYTES and "float" in dtype):
            raise UnknownName("floating dtype", dtype, [name for name in ITEM_BYTES if "float" in name])
    dtypes = {one.spec.dtype for one in profile.parameters if one.role == "parameter" and "float" in one.spec.dtype}
    if options.param_dtype is not None and dtypes and options.param_dtype not in dtypes:
        raise ArchprofError(
            f"Parameters are to be gathered in {options.param_dtype}, and the pass was traced in {profile.dtype}.",
            "A pass in the dtype in which units compute.",
            f"Trace it so: --dtype {options.param_dtype}.",
        )
