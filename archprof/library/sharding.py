"""`archprof.shard`: a model over many devices, without any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archprof.facts.request import PassRequest

if TYPE_CHECKING:
    from archprof.analysis.sharded import ShardAnswer


def shard(
    model: Any, inputs: Any = None, *, mesh: str, device: str | None = None, batch: int = 1, dtype: str | None = None,
    train: bool = False, amp: str | None = None, set: Mapping[str, int] | None = None, phase: str | None = None,
    context: int | None = None, optimizer: str | None = None, checkpoint: Sequence[str] = (), zero: int = 3,
    units: Sequence[str] = (), param_dtype: str | None = None, plan: str | None = None, sequence_parallel: bool = False,
    microbatches: int | None = None, schedule: str = "1f1b", balance: str = "cost", node: int = 8,
    link: str | None = None, network: str | None = None,
) -> ShardAnswer:  # fmt: skip
    """What each rank of a mesh holds and sends, and how long a step takes at least; a saved profile needs no torch.

    Args:
        model, inputs, dtype, train, amp, set, phase, context, optimizer, checkpoint: as for `archprof.profile`.
        mesh: ranks along each axis: "dp=8,fsdp=8,tp=4,pp=2"; also "ep", which is a part of the data axes.
        device: whose memory and speed it is held against: a name of the catalogue.
        batch: of each data-parallel rank, cut into the microbatches of a pipeline; a saved profile is of one of those.
        zero: 3, what `fully_shard` does along `fsdp`; 2, parameters stay whole until the backward; 1, the optimizer's
            state alone is dealt out; 0, nothing.
        units: patterns of the modules that `fully_shard` gathers together; none: the repeated blocks.
        param_dtype: of `fully_shard`'s mixed precision: units compute in it, and are kept and reduced in float32.
        plan: a TOML or JSON file of what is cut over `tp`; `None`: the model's own plan.
        sequence_parallel: between the layers that the plan cuts, each rank of `tp` has a part of the sequence.
        microbatches: of a pipeline; `None`: as many as stages.
        schedule: "1f1b", "gpipe" or "interleaved", with two stages on each rank.
        balance: stages of like "cost", or of a like "count" of blocks.
        node: GPUs that are joined by the link inside a node.
        link, network: inside a node and between nodes, by the names of links.csv; `None`: as the device is sold.

    Raises:
        UsageError: the mesh does not fit the model or its batch, or a name is none.
        ArchprofError: a plan names no module, or what `archprof.profile` raises.
    """
    from archprof.analysis.sharded import ShardAnswer
    from archprof.sweeping.shards import ShardRequest, shard_model

    request = PassRequest(batch, dtype, train, "full", set, phase, context, optimizer, amp=amp, checkpoint=checkpoint)
    ask = ShardRequest(
        mesh,
        device,
        zero,
        tuple(units),
        param_dtype,
        plan,
        sequence_parallel,
        microbatches,
        schedule,
        balance,
        node,
        link,
        network,
    )
    return ShardAnswer(shard_model(model, inputs, request, ask))
