"""What one run of a program from a file may take: bounds on all its ops together, where a file could ask for more.

One op is small, and so is the file: a loop in it can run for ever, and results that live side by side fill the memory.
"""

from __future__ import annotations

import math
from typing import Any

from archprof.errors import ArchprofError
from archprof.torchside.free_memory import UNASKED, refuse_without_room

MOST_STEPS = 2**20
"""Ops of a run, each round of a loop anew, and each step of a recurrent layer on values: minutes of them."""

RECURRENT_ARGUMENTS = (
    ("input", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first"),
    ("data", "batch_sizes", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional"),
)
"""Of `torch.lstm` and its kin: of a tensor, and of a packed sequence."""

RECURRENT_GATES = 8
"""Elements that a recurrent layer makes for each that comes out, at the most: gates of input and state, and sums."""


class RunLimits:
    """How much the run has taken."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A run begins."""
        self._steps = self._unasked_bytes = 0

    def take_steps(self, count: int = 1) -> None:
        """Raise `ArchprofError` where the run goes on for too long."""
        self._steps += count
        if self._steps > MOST_STEPS:
            raise ArchprofError(
                f"The exported program runs more than {MOST_STEPS:,} ops and steps of recurrent layers.",
                "Each round of a loop counts.",
                "Profile the module itself: net.py:Net",
            )

    def take_bytes(self, target: str, made: int) -> None:
        """Raise `ArchprofError` where the machine has no room for what ops make, of which small ones add up."""
        self._unasked_bytes += made
        if self._unasked_bytes > UNASKED:
            refuse_without_room(f"{target}, which the exported program calls with values,", self._unasked_bytes)
            self._unasked_bytes = 0


RUN_LIMITS = RunLimits()
"""Of the run in this process, of which there is one at a time."""


def count_recurrent_steps(target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many steps, of all layers and directions, a recurrent op makes one after the other."""
    is_packed = target.endswith(".data")
    given = {**dict(zip(RECURRENT_ARGUMENTS[is_packed], args, strict=False)), **kwargs}
    if is_packed:
        steps = given["batch_sizes"].numel()
    else:
        shape = given["input"].shape
        steps = shape[1 if given.get("batch_first") and len(shape) > 2 else 0] if shape else 0
    return int(math.prod((steps, max(1, int(given.get("num_layers", 1))), 1 + bool(given.get("bidirectional")))))
