"""What lies over the rows of a profile, several side by side: measured, predicted, probed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Protocol


class Outside(Enum):
    """What belongs to no call; it closes a sum over the calls."""

    WHOLE = "whole"
    BETWEEN_LAYERS = "between layers"
    OUTSIDE_MODULES = "outside modules"
    OPTIMIZER_STEP = "optimizer step"
    GRADIENT_ACCUMULATION = "gradient accumulation"
    UNATTRIBUTED = "unattributed"


RowKey = int | Outside
"""What a row of an overlay is about: a call, by its index in `Profile.calls`, or what belongs to none."""


class Overlay(Protocol):
    """Numbers beside the facts of a profile, each row keyed by the call that it is about."""

    @property
    def kind(self) -> str:
        """ "measured", say: names it in a saved file."""

    def calls(self) -> Iterator[int]:
        """Every call that a row is about, as often as it is."""

    def check(self) -> None:
        """Raise `ValueError` on the first invariant of its own that does not hold."""
