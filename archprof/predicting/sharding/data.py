"""The data axes: `shard_data` takes the step of a rank as it is, or as a stage and tensor parallelism left it."""

from __future__ import annotations

from archprof.errors import ArchprofError
from archprof.predicting.sharding.copies import Copies
from archprof.predicting.sharding.data_options import PLAIN_DATA, DataOptions
from archprof.predicting.sharding.data_parallel import reduce_in_buckets
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.fsdp import shard_fully
from archprof.predicting.sharding.gradients import find_gradients
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.unit_checks import check_dtypes
from archprof.predicting.sharding.zero import deal_optimizer


def shard_data(step: RankStep, options: DataOptions = PLAIN_DATA) -> RankStep:
    """The step of one rank, with what the data axes of its mesh cut off and put in.

    Args:
        step: of a rank that holds the whole model, a stage of it, or its part of every layer.
        options: what is dealt out along `fsdp`.

    Raises:
        ArchprofError: the pass failed, or was traced in another dtype than `param_dtype`, or units or parameters that
            torch refuses.
        UnknownName: a pattern of a unit matches nothing.
    """
    if step.profile.failure is not None:
        where = step.profile.failure
        raise ArchprofError(
            f"The forward of {step.profile.model} failed ({where.error}: {where.message}), and has no step to shard.",
            "A pass that came to its end.",
            "Mend the model, or its inputs.",
        )
    if step.own_parameters and options.level == "zero1":
        raise ArchprofError(
            "ZeRO 1 deals out the steps of parameters that all ranks have, and over ep each has its own experts.",
            "Levels: ddp, zero2, zero3.",
        )
    check_dtypes(step.profile, options)
    if step.mesh.dp * step.mesh.fsdp == 1 or not step.profile.parameters:
        return step
    if step.mesh.fsdp > 1 and options.level in ("zero2", "zero3"):
        return shard_fully(step, options)
    return _copy(step, options)


def _copy(step: RankStep, options: DataOptions) -> RankStep:
    """Whole copies along both axes, and for ZeRO 1 parts of the optimizer along `fsdp`."""
    copies, gradients = Copies(StepEditor(step), options), find_gradients(step.profile)
    copies.broadcast_buffers()
    reduce_in_buckets(copies, gradients)
    if options.level == "zero1" and step.mesh.fsdp > 1:
        deal_optimizer(copies, gradients)
    return copies.editor.build()
