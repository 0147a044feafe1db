"""How a pass is run, and in which way a model may come through that did not in another."""

from __future__ import annotations

from typing import NamedTuple

from torch.autograd.graph import disable_saved_tensors_hooks

from archprof.torchside.missing_values import wants_values, was_raised_in
from archprof.torchside.stand_in import HookWanted
from archprof.torchside.watched_model import WouldChangeModel
from archprof.tracing.calls import Calls
from archprof.tracing.chance import Draw
from archprof.tracing.whole_ops import PartsWanted

SIGNALS = (HookWanted, PartsWanted, WouldChangeModel)
"""Raised where a pass cannot go on in its way; none is an `Exception`, which a model might handle."""

SAVED_UNKNOWN_NOTE = "What autograd keeps for the backward pass is not known here: torch.func lets nobody watch it."

GRADIENTS_NOTE = "Run with gradients on, since the forward asks for gradients itself."

PARTS_NOTE = (
    "A gradient of a gradient goes through attention or a recurrent layer, which no fused kernel has: it is counted "
    "as the ops that torch takes it apart into."
)


class CompilerWoke(Exception):
    """A model did not come through while torch's compiler, which the pass imported, may have compiled our own code."""


class TraceStrategy(NamedTuple):
    """How a pass is run. The first way is the fastest; a model that it does not do for is run in another.

    Attributes:
        device: "meta", or "cpu" for what needs values.
        hooks: modules can be given hooks in forward.
        values: small tensors that code makes on meta have values all the same, since it may ask for them.
        watches_saved: what autograd keeps for the backward pass is watched, which torch.func does not allow.
        gradients: they are on, since the forward asks for some.
        parts: attention and recurrent layers are taken apart by torch, so that their gradients have gradients.
        draw: how random numbers come out that code may read.
    """

    device: str = "meta"
    hooks: bool = False
    values: bool = False
    watches_saved: bool = True
    gradients: bool = False
    parts: bool = False
    draw: Draw = "high"


def choose_next_strategy(way: TraceStrategy, error: BaseException | None, calls: Calls) -> TraceStrategy | None:
    """The way in which a model may come through that came to this error, or to none, in this one; `None`: no other."""
    if calls.refused_gradient and not way.gradients:
        return way._replace(gradients=True)
    if error is None or isinstance(error, WouldChangeModel):
        return None
    if isinstance(error, HookWanted):
        return way._replace(hooks=True)
    if isinstance(error, PartsWanted) and not way.parts:
        return way._replace(parts=True)
    if way.watches_saved and was_raised_in(error, disable_saved_tensors_hooks):
        return way._replace(watches_saved=False)
    if way.device == "meta" and (wants_values(error) or calls.refused_gradient):
        return way._replace(device="cpu") if way.values else way._replace(values=True)
    return way._replace(gradients=True) if calls.missed_node and not way.gradients else None


def explain_change(way: TraceStrategy, other: TraceStrategy) -> list[str]:
    """What the reader must know of another way than the first, but for that to another device."""
    notes = {"watches_saved": SAVED_UNKNOWN_NOTE, "gradients": GRADIENTS_NOTE, "parts": PARTS_NOTE}
    return [note for name, note in notes.items() if getattr(way, name) != getattr(other, name)]


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an exception came up while Ctrl-C was on its way out, as when torch then finds its own stacks changed."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
