"""A model over a mesh, as tables: what each rank holds, what it sends, and how long a step takes at least."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archprof.analysis.memory import say_verdict
from archprof.analysis.table import Column, Row, Table
from archprof.predicting.memory import Category
from archprof.predicting.sharding.mesh import AXES, Mesh
from archprof.predicting.sharding.shard import Sharded, ShardedRank, Traffic, sum_traffic

PARTS: Mapping[str, tuple[str, tuple[Category, ...], str, int]] = {
    "weights": ("Weights", ("weights", "buffers", "constants"), "parameters and buffers that lie there", 2),
    "gradients": ("Grads", ("gradients",), "of its parameters", 2),
    "optimizer": ("State", ("optimizer state",), "state of the optimizer", 2),
    "activations": (
        "Activations", ("inputs", "activations kept for backward", "activations and temporaries"),
        "inputs, what is kept for the backward, and temporaries", 2,
    ),
    "gathered": ("Gathered", ("gathered parameters",), "parameters that are whole for a while, or fetched ahead", 3),
    "communication": ("Comm.", ("communication buffers",), "buffers of what is sent and received", 3),
    "rest": ("Rest", ("workspaces", "allocator slack", "context"), "workspaces, allocator, context of CUDA", 4),
}  # fmt: skip
"""The columns of memory: title, categories, meaning and rank."""

RANK_COLUMNS = (
    Column("ranks", "Ranks", "path", "which ranks of the mesh do the same", 0),
    Column("count", "No.", "whole", "how many they are", 1),
    *(
        Column(key, title, "bytes", f"at the peak: {words}", rank, "memory")
        for key, (title, _, words, rank) in PARTS.items()
    ),
    Column("used", "Used", "bytes", "at the peak, as nvidia-smi shows it", 0, "memory"),
)  # fmt: skip
TRAFFIC_COLUMNS = (
    Column("axis", "Axis", "path", "of the mesh", 0),
    Column("kind", "Collective", "text", "what is done", 0),
    Column("group", "Ranks", "whole", "that take part", 1),
    Column("link", "Link", "text", "over which, at its slowest", 1),
    Column("times", "Times", "whole", "in a step", 1),
    Column("sent", "Sent", "bytes", "by the rank in a step", 0, "sent", is_sum=True),
    Column("hidden", "Beside work", "bytes", "of these, sent while it computes", 2, "sent", is_sum=True),
)
TIME_COLUMNS = (
    Column("part", "Part of a step", "path", "what the slowest rank does", 0),
    Column("seconds", "Time", "seconds", "at least", 0, "time"),
    Column("share", "Share", "share", "of the step", 1),
)
BOUND_NOTE = "A bound: links at the rate of their datasheet, work as predicted, and all of it that can overlap does."
BATCH_NOTE = "{samples:,} samples a step: {batch} of each of {ranks} data-parallel ranks."
PIPELINE_NOTE = (
    "{schedule}, {microbatches} microbatches of {batch}; bubble {share:.1%} if all stages were alike, by the formula."
)


@dataclass(frozen=True)
class ShardAnswer:
    """What `archprof.shard` returns. It prints as its tables."""

    sharded: Sharded

    def table(self) -> Table:
        """Memory by rank."""
        return tabulate_ranks(self.sharded)

    def tables(self) -> tuple[Table, ...]:
        """Memory by rank, what is sent, and the least time of a step, where a device was named."""
        timed = (tabulate_time(self.sharded),) if self.sharded.time is not None else ()
        return self.table(), tabulate_traffic(self.sharded), *timed

    def to_json(self) -> str:
        return json.dumps(write_sharded(self.sharded), indent=1) + "\n"

    def __str__(self) -> str:
        return "\n".join(map(str, self.tables()))


def tabulate_ranks(sharded: Sharded) -> Table:
    """A row for every distinct rank, the notes with the largest and whether it fits."""
    rows = [_make_row(sharded, rank) for rank in sharded.ranks]
    title = f"{sharded.profile.model} over {sharded.mesh.ranks} ranks, {sharded.mesh}"
    return Table(title, RANK_COLUMNS, tuple(rows), notes=tuple(_say_notes(sharded)))


def _make_row(sharded: Sharded, rank: ShardedRank) -> Row:
    sizes = rank.memory.peak.categories
    parts = [sum(sizes.get(name, 0) for name in names) for _, names, _, _ in PARTS.values()]
    used = rank.memory.device_used_bytes
    bounds = frozenset({"used"}) if used.high is None else frozenset[str]()
    return Row((name_rank(sharded, rank), rank.count, *parts, used.value), bounds=bounds)


def name_rank(sharded: Sharded, rank: ShardedRank) -> str:
    """ "pp 3", or "pp 3, fsdp 7" where the ranks along several axes differ."""
    places = [one.step.place for one in sharded.ranks]
    differing = [at for at, _ in enumerate(AXES) if len({place[at] for place in places}) > 1]
    return ", ".join(f"{AXES[at]} {rank.step.place[at]}" for at in differing) or "all"


def _say_notes(sharded: Sharded) -> Iterator[str]:
    largest = sharded.largest
    name = name_rank(sharded, largest)
    if len(sharded.ranks) > 1:
        yield f"The largest rank: {name}."
    verdict = sharded.verdict
    if verdict is not None:
        yield say_verdict(verdict, largest.memory)
    batch = sharded.profile.batch
    ranks = sharded.mesh.dp * sharded.mesh.fsdp
    yield BATCH_NOTE.format(samples=sharded.samples, batch=batch * sharded.microbatches, ranks=ranks)
    if sharded.mesh.pp > 1:
        how = sharded.options.pipeline
        share = sharded.bubble_share
        yield PIPELINE_NOTE.format(schedule=how.schedule, microbatches=how.microbatches, batch=batch, share=share)
    yield from sharded.notes
    yield from sharded.profile.notes


def tabulate_traffic(sharded: Sharded) -> Table:
    """What the rank that sends most sends in a step."""
    most, traffic = find_busiest(sharded)
    rows = [Row(one) for one in traffic]
    total = Row(("all", "", None, "", None, sum(one.sent for one in traffic), sum(one.hidden for one in traffic)))
    alike = len(sharded.ranks) == 1
    title = f"Sent in a step by each rank{'' if alike else f' of {name_rank(sharded, most)}'}"
    notes = ("Nothing is sent.",) if not rows else () if alike else ("Of all ranks, these send most.",)
    return Table(title, TRAFFIC_COLUMNS, tuple(rows), total if rows else None, notes)


def find_busiest(sharded: Sharded) -> tuple[ShardedRank, tuple[Traffic, ...]]:
    """The rank that sends most, and what."""
    found = [(rank, sum_traffic(rank, sharded)) for rank in sharded.ranks]
    return max(found, key=lambda one: sum(each.sent for each in one[1]))


def tabulate_time(sharded: Sharded) -> Table:
    """The bound of a step, part by part."""
    time, device, fabric = sharded.time, sharded.device, sharded.fabric
    assert time is not None
    assert device is not None
    assert fabric is not None
    trains = sharded.profile.mode == "train"
    parts = {"forward and backward" if trains else "forward": time.compute, "sent and waited for": time.communication}
    parts |= {"other stages": time.bubble} if sharded.mesh.pp > 1 else {}
    parts |= {"optimizer": time.optimizer} if sharded.profile.training is not None else {}
    rows = [Row((name, seconds, seconds / time.step if time.step else None)) for name, seconds in parts.items()]
    links = f"{fabric.node.name} in nodes of {fabric.gpus}" + (
        f", {fabric.network.name} between them." if sharded.mesh.ranks > fabric.gpus else "."
    )
    unsure = [one.name for one in fabric[:2] if one.status == "unverified"]
    notes = [BOUND_NOTE, f"{device.name}, {links} {sharded.samples / time.step:,.1f} samples a second at most."]
    notes += [f"The rate of {', '.join(unsure)} is not verified."] if unsure else []
    total = Row(("step", time.step, 1.0))
    return Table("Time of a step, at least", TIME_COLUMNS, tuple(rows), total, tuple(notes))


def write_sharded(sharded: Sharded) -> dict[str, Any]:
    """The answer for JSON, in base units."""
    time, verdict = sharded.time, sharded.verdict
    return {
        "schema": 1,
        "model": sharded.profile.model,
        "mesh": _write_mesh(sharded.mesh),
        "samples": sharded.samples,
        "microbatches": sharded.microbatches,
        "schedule": sharded.options.pipeline.schedule,
        "bubble_share": sharded.bubble_share,
        "device": sharded.device and sharded.device.name,
        "verdict": verdict and verdict._asdict(),
        "largest_rank": name_rank(sharded, sharded.largest),
        "ranks": [_write_rank(sharded, rank) for rank in sharded.ranks],
        "step_seconds": time and time._asdict(),
        "notes": [*sharded.notes, *sharded.profile.notes],
    }


def _write_mesh(mesh: Mesh) -> dict[str, int]:
    return dict(zip(AXES, mesh, strict=True))


def _write_rank(sharded: Sharded, rank: ShardedRank) -> dict[str, Any]:
    memory = rank.memory
    return {
        "ranks": name_rank(sharded, rank),
        "place": _write_mesh(rank.step.place),
        "count": rank.count,
        "live_peak_bytes": memory.live_peak_bytes._asdict(),
        "allocated_peak_bytes": memory.allocated_peak_bytes._asdict(),
        "reserved_peak_bytes": memory.reserved_peak_bytes._asdict(),
        "device_used_bytes": memory.device_used_bytes._asdict(),
        "categories": dict(memory.peak.categories),
        "sent": [one._asdict() for one in sum_traffic(rank, sharded)],
        "seconds": rank.time and rank.time._asdict(),
    }
