"""The ways in which a pass is run, and which comes after one that failed."""

from __future__ import annotations

from typing import NamedTuple

from torch.autograd.graph import disable_saved_tensors_hooks

from archprof.torchside.missing_values import wants_values, was_raised_in
from archprof.torchside.stand_in import HookWanted
from archprof.tracing.chance import Draw


class TraceStrategy(NamedTuple):
    """How a pass is run. The first way is the fastest; a model that it does not do for is run in another.

    Attributes:
        device: "meta", or "cpu" for what needs values.
        hooks: modules can be given hooks in forward.
        values: small tensors that code makes on meta have values all the same, since it may ask for them.
        draw: how random numbers come out that code may read.
        watches_saved: what autograd keeps for the backward pass is watched, which torch.func does not allow.
    """

    device: str = "meta"
    hooks: bool = False
    values: bool = False
    watches_saved: bool = True
    draw: Draw = "high"


def choose_next_strategy(way: TraceStrategy, error: BaseException) -> TraceStrategy | None:
    """The way in which a model may come through that failed so in this one; `None`: there is none."""
    if isinstance(error, HookWanted):
        return way._replace(hooks=True)
    if way.watches_saved and was_raised_in(error, disable_saved_tensors_hooks):
        return way._replace(watches_saved=False)
    if way.device == "meta" and wants_values(error):
        return way._replace(device="cpu") if way.values else way._replace(values=True)
    return None
