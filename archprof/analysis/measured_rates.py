"""How fast each measured row ran, as the roofline asks: FLOPs for each byte moved, and FLOP/s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof.analysis.tables.columns import Counts


class Dot(NamedTuple):
    """One measured row: FLOPs for each byte moved, unfused; FLOP/s; its index in `Profile.layers`."""

    intensity: float
    rate: float
    row: int


def dots(own: Sequence[Counts]) -> list[Dot]:
    """The rows that compute, were measured long enough to tell, and have no op without a rule."""
    found = []
    for row, counts in enumerate(own):
        flops, time = counts.flops + (counts.backward_flops or 0), counts.latency
        if (
            flops
            and counts.bytes_moved
            and not counts.unknown
            and time
            and not time.below_resolution
            and time.seconds > 0
        ):
            found.append(Dot(flops / counts.bytes_moved, flops / time.seconds, row))
    return found
