"""Where the steps of an optimizer stand among the ops of a pass."""

from __future__ import annotations

from typing import NamedTuple


class Training(NamedTuple):
    """The step of the optimizer behind a backward pass, which was traced twice.

    Attributes:
        optimizer: as it was asked for.
        accumulate: passes whose gradients are added up before a step; this was the last of them.
        set_to_none: gradients are dropped after a step, and not set to zero and kept.
        first: index of the first op of the first step of a run, which makes the state.
        steady: index of the first op of a later step, which finds it.
    """

    optimizer: str
    accumulate: int
    set_to_none: bool
    first: int
    steady: int
