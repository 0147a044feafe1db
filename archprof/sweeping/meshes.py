"""Every mesh of so many devices: which fit, and which is cheapest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.predicting.memory_capacity import VerdictWord, find_capacity
from archprof.predicting.sharding.mesh import MOST_RANKS, Mesh
from archprof.predicting.sharding.shard import Sharded, ShardOptions
from archprof.sweeping.shards import ShardRequest, lay_out, read_options, trace_microbatch
from archprof.units import show_quantity

LEAST = ("time", "memory")
"""By what meshes are sorted: the least time of a step per sample, or the least memory of the largest rank."""


class MeshTry(NamedTuple):
    """One mesh.

    Attributes:
        mesh: it.
        word: whether it fits; `None`: the model cannot be laid over it.
        needed: bytes that the largest rank needs; a lower bound where nothing was replayed.
        seconds: of a step, at least; `None`: not worked out.
        samples: of a step.
        reason: why it is refused, in a sentence.
    """

    mesh: Mesh
    word: VerdictWord | None
    needed: int | None
    seconds: float | None
    samples: int | None
    reason: str = ""

    @property
    def sample_seconds(self) -> float | None:
        """The least time per sample."""
        return self.seconds / self.samples if self.seconds is not None and self.samples else None


@dataclass(frozen=True)
class MeshFit:
    """The answer: every mesh, the cheapest that fits first."""

    model: str
    device: str
    capacity: int
    gpus: int
    least: str
    tries: tuple[MeshTry, ...]


def fit_meshes(
    model: Any, inputs: Any, request: PassRequest, ask: ShardRequest, gpus: int | None, least: str = "time"
) -> MeshFit:
    """Lay a model over every mesh of so many devices: `tp` within a node, `pp` within its blocks.

    Args:
        model, inputs, request, ask: as for `archprof.sweeping.shards.shard_model`; the mesh is not asked for.
        gpus: how many.
        least: one of `LEAST`.

    Raises:
        UsageError: no device or number of devices, or a name is none.
        ArchprofError: as `archprof.profile`.
    """
    if gpus is None or not 1 <= gpus <= MOST_RANKS:
        given = "No number of GPUs was given." if gpus is None else f"A mesh of {gpus} GPUs cannot be."
        raise UsageError(given, f"From 1 to {MOST_RANKS:,}.", "Try: --gpus 8")
    if least not in LEAST:
        raise UnknownName("cost of a mesh", least, LEAST)
    chosen, fabric = ask.find_device()
    if chosen is None or fabric is None:
        raise UsageError("A mesh is of devices, and none was named.", "", "Add: --device h100")
    options = read_options(replace(ask, microbatches=None, schedule="gpipe"), Mesh())
    capacity = find_capacity(chosen.device)
    whole = trace_microbatch(model, inputs, request, ask, 1)
    if options.plan is not None:
        options.plan.match(whole)  # raises what is wrong with it, before any work
    tracer = _Tracer(model, inputs, request, ask, whole)
    tries = []
    for mesh in list_meshes(gpus, fabric.gpus):
        least_bytes = sum_least_bytes(whole, mesh, ask.zero)
        if least_bytes > capacity:
            reason = f"Weights, gradients and state alone take {show_quantity(least_bytes, 'bytes')}."
            tries.append(MeshTry(mesh, "does not fit", least_bytes, None, None, reason))
            continue
        try:
            settled = read_options(ask, mesh)
            found = lay_out(tracer.trace(settled), mesh, settled, chosen, fabric)
        except ArchprofError as error:
            tries.append(MeshTry(mesh, None, None, None, None, str(error).partition("\n")[0]))
            continue
        tries.append(_describe(found))
    tries.sort(key=lambda one: _rank(one, least))
    name = model if isinstance(model, str) else whole.model
    return MeshFit(name, chosen.device.name, capacity, gpus, least, tuple(tries))


class _Tracer:
    """Profiles of microbatches, each traced once."""

    def __init__(self, model: Any, inputs: Any, request: PassRequest, ask: ShardRequest, whole: Profile) -> None:
        self.model, self.inputs, self.request, self.ask = model, inputs, request, ask
        self.known = {1: whole}

    def trace(self, options: ShardOptions) -> Profile:
        count = options.pipeline.microbatches
        if count not in self.known:
            self.known[count] = trace_microbatch(self.model, self.inputs, self.request, self.ask, count)
        return self.known[count]


def list_meshes(gpus: int, node: int) -> Iterator[Mesh]:
    """Every mesh of so many devices whose `tp` stays within a node."""
    for pp in _list_divisors(gpus):
        for tp in _list_divisors(gpus // pp):
            if tp <= node:
                for fsdp in _list_divisors(gpus // pp // tp):
                    yield Mesh(pp=pp, dp=gpus // pp // tp // fsdp, fsdp=fsdp, tp=tp)


def _list_divisors(number: int) -> list[int]:
    return [at for at in range(1, number + 1) if number % at == 0]


def sum_least_bytes(profile: Profile, mesh: Mesh, zero: int) -> int:
    """What the largest rank holds at least between the backward and the step: an equal share of what is dealt out."""
    sizes = {"parameter": 0, "gradient": 0, "optimizer state": 0}
    for storage in profile.storages:
        if storage.role in sizes and storage.died is None:
            sizes[storage.role] += storage.nbytes
    parts = mesh.pp * mesh.tp
    whole = parts * (mesh.fsdp if zero >= 2 else 1)
    return (sizes["parameter"] + sizes["gradient"]) // whole + sizes["optimizer state"] // (
        parts * (mesh.fsdp if zero >= 1 else 1)
    )


def _describe(found: Sharded) -> MeshTry:
    verdict, time = found.verdict, found.time
    assert verdict is not None
    assert time is not None
    memory = found.largest.memory
    needed = memory.needed_bytes.value
    reasons = {"does not fit": f"It needs {show_quantity(needed, 'bytes')}.", "does not run": str(memory.refusal)}
    reason = reasons.get(verdict.word, "")
    return MeshTry(found.mesh, verdict.word, needed, time.step, found.samples, reason)


WORDS: tuple[VerdictWord | None, ...] = ("fits", "too close to say", "does not fit", "does not run", None)


def _rank(one: MeshTry, least: str) -> tuple[int, float]:
    cost = one.sample_seconds if least == "time" else one.needed
    return WORDS.index(one.word), (one.needed or 0) if cost is None else cost
