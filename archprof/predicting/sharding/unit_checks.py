"""What torch's `fully_shard` refuses, said before any work."""

from __future__ import annotations

from archprof.errors import ArchprofError
from archprof.facts.records import Parameter, Profile
from archprof.predicting.sharding.units import Unit


def check_unit(profile: Profile, unit: Unit) -> None:
    """Raise where torch would.

    Raises:
        ArchprofError: a parameter without dimensions, one whose place in memory is not known, or trainable ones of
            several dtypes in one unit.
    """
    path = profile.modules[unit.module].path or "the model"
    parameters = [profile.parameters[index] for index in unit.parameters]
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
    if one.storage is None:
        raise ArchprofError(f"Where {one.name} lies is not known, in this profile.", "", "Trace the model again.")
