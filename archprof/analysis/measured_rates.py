"""How fast each measured row ran, as the roofline asks: FLOPs for each byte moved, and FLOP/s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof.analysis.counts import Counts, compute_intensity


class Dot(NamedTuple):
    """One measured row: its arithmetic intensity; FLOP/s; its index in `Profile.layers`."""

    intensity: float
    rate: float
    row: int


def dots(own: Sequence[Counts]) -> list[Dot]:
    """The rows that compute, were measured long enough to tell, and have no op without a rule."""
    found = []
    for row, counts in enumerate(own):
        intensity, time = compute_intensity(counts), counts.latency
        if intensity and time and not time.below_resolution and time.seconds > 0:
            flops = counts.flops + (counts.backward_flops or 0)
            found.append(Dot(intensity, flops / time.seconds, row))
    return found
