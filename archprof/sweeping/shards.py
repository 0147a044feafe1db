"""From what a user asks of a model over many devices to the answer: traced at the microbatch, laid over the mesh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from archprof import files
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.predicting.devices import Device
from archprof.predicting.runs import ChosenDevice, choose_one_device
from archprof.predicting.sharding.data_options import DataLevel, DataOptions
from archprof.predicting.sharding.links import GPUS_OF_NODE, Fabric, find_fabric
from archprof.predicting.sharding.mesh import Mesh, parse_mesh
from archprof.predicting.sharding.pipeline import PipelineOptions
from archprof.predicting.sharding.plan import Plan, read_plan
from archprof.predicting.sharding.schedules import check_schedule
from archprof.predicting.sharding.shard import Sharded, ShardOptions, shard_profile
from archprof.tracing.profile import profile_model

ZERO_LEVELS: dict[int, DataLevel] = {0: "ddp", 1: "zero1", 2: "zero2", 3: "zero3"}
REDUCE_DTYPE = "float32"
"""In which torchtitan reduces gradients, whatever is computed in."""


@dataclass(frozen=True)
class ShardRequest:
    """How a model is laid over devices; the values are those of the options of `archprof shard`."""

    mesh: str | None = None
    device: str | None = None
    zero: int = 3
    units: tuple[str, ...] = ()
    param_dtype: str | None = None
    plan: str | None = None
    sequence_parallel: bool = False
    microbatches: int | None = None
    schedule: str = "1f1b"
    balance: str = "cost"
    node: int = GPUS_OF_NODE
    link: str | None = None
    network: str | None = None

    def find_device(self) -> tuple[ChosenDevice | None, Fabric | None]:
        """The device and its links; `UsageError` for a name that is none."""
        if self.device is None:
            if self.link or self.network:
                raise UsageError("A link was named, and no device that is on it.", "", "Add: --device h100")
            return None, None
        chosen = choose_one_device(self.device)
        return chosen, find_fabric(chosen.device, self.node, self.link, self.network)

    def read_data(self) -> DataOptions:
        """How the data axes are used; `UsageError` for a level that there is not."""
        if self.zero not in ZERO_LEVELS:
            raise UsageError(
                f"There is no ZeRO {self.zero}.", f"Levels: {', '.join(map(str, ZERO_LEVELS))}.", "--zero 3"
            )
        reduced = REDUCE_DTYPE if self.param_dtype else None
        return DataOptions(
            ZERO_LEVELS[self.zero], tuple(self.units), param_dtype=self.param_dtype, reduce_dtype=reduced
        )

    def read_plan(self) -> Plan | None:
        return None if self.plan is None else read_plan(self.plan)

    def count_microbatches(self, mesh: Mesh) -> int:
        """As many as stages, unless it is said."""
        count = mesh.pp if self.microbatches is None else self.microbatches
        check_schedule(self.schedule, mesh.pp, count)
        return count


def shard_model(model: Any, inputs: Any, request: PassRequest, ask: ShardRequest) -> Sharded:
    """Trace a model at the microbatch of its mesh, and lay it over that.

    Args:
        model: as for `archprof.profile`, or a profile: of one microbatch.
        inputs, request: of the batch of one rank of the data axes.
        ask: how the devices are used.

    Raises:
        UsageError: the mesh does not fit the model or its batch, or a name is none.
        ArchprofError: as `archprof.profile`, or a plan that does not fit.
    """
    mesh = parse_mesh(ask.mesh or "")
    chosen, fabric = ask.find_device()
    options = read_options(ask, mesh)
    profile = trace_microbatch(model, inputs, request, ask, options.pipeline.microbatches)
    return lay_out(profile, mesh, options, chosen, fabric)


def lay_out(
    profile: Profile, mesh: Mesh, options: ShardOptions, chosen: ChosenDevice | None, fabric: Fabric | None
) -> Sharded:
    """Lay a profile over a mesh, with what must be said of the device."""
    device: Device | None = None if chosen is None else chosen.device
    found = shard_profile(profile, mesh, options, device, fabric)
    return replace(found, notes=(chosen.note,)) if chosen is not None and chosen.note else found


def read_options(ask: ShardRequest, mesh: Mesh) -> ShardOptions:
    """How the axes of a mesh are used."""
    pipeline = PipelineOptions(ask.count_microbatches(mesh), ask.schedule, ask.balance)
    return ShardOptions(pipeline, ask.read_data(), ask.read_plan(), ask.sequence_parallel)


def trace_microbatch(model: Any, inputs: Any, request: PassRequest, ask: ShardRequest, microbatches: int) -> Profile:
    """The profile of one of so many microbatches; a saved one is of a microbatch already."""
    if ask.param_dtype is not None:
        if request.dtype not in (None, ask.param_dtype) or request.amp is not None:
            raise UsageError(
                f"Units compute in {ask.param_dtype}, and another dtype was asked for, too.",
                "One of --param-dtype (of fully_shard), --amp (autocast) and --dtype.",
            )
        request = replace(request, dtype=ask.param_dtype)
    if isinstance(model, Profile) or files.is_profile_path(model):
        return _open_saved(model, inputs, request)
    if request.batch % microbatches:
        most = request.batch // microbatches * microbatches or microbatches
        raise UsageError(
            f"A batch of {request.batch} cannot be cut into {microbatches} microbatches.",
            "The batch of each data-parallel rank: a multiple of the microbatches.",
            f"Try: --batch {most}",
        )
    return profile_model(model, inputs, replace(request, batch=request.batch // microbatches))


def _open_saved(model: Any, inputs: Any, request: PassRequest) -> Profile:
    """A profile that is there already: training is no change where it was traced so."""
    name = model.model if isinstance(model, Profile) else model
    profile = model if isinstance(model, Profile) else profile_model(model)
    if request.train and profile.mode != "train":
        raise UsageError(
            f"{name} was traced without training.",
            "A profile of a training step, or the model itself.",
            'One is made by: archprof.profile(MODEL, train=True, optimizer="adamw").save("x.json")',
        )
    changes = [*["input"] * (inputs is not None), *replace(request, train=False, dtype=None).list_changes()]
    if request.dtype not in (None, profile.dtype):
        changes.append("dtype")
    if changes:
        raise UsageError(f"{name} was traced already; {', '.join(changes)} cannot change it.")
    return profile
