"""What is to be traced: a model, its inputs, and how it came to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from archprof.facts.records import Decoding


@dataclass(frozen=True, slots=True)
class Target:
    """A model with the inputs of one call.

    Attributes:
        name: as it was asked for.
        model: on the meta device if owned.
        args, kwargs: of one forward; trees whose leaves are `InputSpec` or plain values (see `normalise_inputs`).
        owned: built here, so it may be hooked, moved and thrown away; `False`: the user's own object.
        rebuild: makes the model again with real tensors, for what cannot run on meta; `None`: `model` has them.
        notes: what the reader must know to trust the numbers.
        decoding: the phase that the inputs are for, and the cache that a decoder keeps.
    """

    name: str
    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    owned: bool
    rebuild: Callable[[], nn.Module] | None
    notes: tuple[str, ...] = ()
    decoding: Decoding | None = None
