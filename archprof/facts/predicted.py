"""What was predicted: seconds that a pass should take on a device, an overlay on the rows of a profile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from archprof.facts.overlays import RowKey

Bound = Literal["arithmetic", "memory", "launch"]
"""What most of a row's time goes to: the arithmetic units; bytes to and from memory; the gaps in which the device waits
for the host to launch the next kernel, and the start of a kernel itself."""

Standing = Literal["refined", "calibrated", "seen", "unseen", "bound"]
"""How well a device is known, from best to worst.

* refined: saved measurements on this very device corrected the model;
* calibrated: its rates were measured on it by `archprof calibrate`;
* seen: by its datasheet, and what is fitted was fitted on measurements on such a device, among others;
* unseen: by its datasheet; devices of its maker were measured, and the interval is that of devices left out of the fit;
* bound: nothing like it was ever measured. `low` is a true bound, the roofline of the datasheet, which nothing can go
  under; `p50` and `high` are a guess with the efficiencies of other devices, and must be called so.
"""


class Seconds(NamedTuple):
    """A predicted time: the middle, and between what it lies nine times of ten."""

    p50: float
    low: float
    high: float


class PredictedRow(NamedTuple):
    """Seconds of one row's own work, of all its phases together.

    Attributes:
        key: the call, by its index in `Profile.calls`, or what belongs to none (`Outside.OPTIMIZER_STEP`).
        seconds: with its interval. The `p50` of all rows sum to that of the whole; their `low` and `high` do not, since
            errors of rows partly cancel in a sum.
        arithmetic, memory, launch: the parts of `seconds.p50` that each is the limit of; they sum to it.
        kernel: seconds that its kernels run, without waiting for the host.
    """

    key: RowKey
    seconds: Seconds
    arithmetic: float
    memory: float
    launch: float
    kernel: float

    @property
    def bound(self) -> Bound:
        """The largest of the three parts."""
        parts: dict[Bound, float] = {"arithmetic": self.arithmetic, "memory": self.memory, "launch": self.launch}
        return max(parts, key=parts.__getitem__)


@dataclass(frozen=True)
class LatencyPrediction:
    """What one pass of a profile should take on one device.

    Attributes:
        device: its name in the catalogue, or what it calls itself where it was calibrated.
        standing: how well the device is known; what a "bound" is must be said wherever its numbers are shown.
        batch, dtype, mode: of the pass; mode is "forward", or "train": forward, backward and, where one was traced, the
            optimizer's step, as in a later step.
        autocast: the dtype that the forward ran under autocast to; `None`: it did not.
        eager: op by op, as users run it: where the host launches kernels more slowly than they run, the device waits.
            Otherwise captured: a CUDA graph replays the kernels without the host.
        compiled: what `torch.compile` makes of it: chains of pointwise ops and reductions are one kernel.
        channels_last: images and weights of convolutions have their channels last in memory.
        tf32: float32 products in (matrix products, convolutions) are rounded to TF32 where the device has it.
        whole: the pass. Eager it is at least the sum of its kernels, and equals the sum of the rows.
        layers: a row per call that has work.
        rest: what belongs to no call.
        kernel_seconds: the device's own time, the sum of the kernels, as a captured pass takes it.
        host_seconds: what the host needs to launch all of it, eager. Where that is more, launches are the limit.
        roofline_seconds: arithmetic at the peak or bytes at the bandwidth of the datasheet, op by op: the least.
        complete: no op is unknown and the pass came to its end; otherwise all times are lower bounds.
        notes: what the reader must know to trust these numbers.
        refused: a kernel does not take its sizes there; the notes say which.
    """

    kind: ClassVar[str] = "predicted"

    device: str
    standing: Standing
    batch: int
    dtype: str
    mode: str
    autocast: str | None
    eager: bool
    compiled: bool
    channels_last: bool
    tf32: tuple[bool, bool]
    whole: Seconds
    layers: tuple[PredictedRow, ...]
    rest: tuple[PredictedRow, ...]
    kernel_seconds: float
    host_seconds: float
    roofline_seconds: float
    complete: bool = True
    notes: tuple[str, ...] = ()
    refused: bool = False

    @property
    def bound(self) -> Bound:
        """What most of the whole time goes to."""
        rows = (*self.layers, *self.rest)
        parts: dict[Bound, float] = {
            "arithmetic": math.fsum(row.arithmetic for row in rows),
            "memory": math.fsum(row.memory for row in rows),
            "launch": math.fsum(row.launch for row in rows),
        }
        return max(parts, key=parts.__getitem__)

    def calls(self) -> Iterator[int]:
        """Every call that a row is about, once."""
        yield from (row.key for row in self.layers if isinstance(row.key, int))

    def check(self) -> None:
        """Raise `ValueError` on the first invariant that does not hold."""
        rows = (*self.layers, *self.rest)
        for low, middle, high in ((one.low, one.p50, one.high) for one in (self.whole, *(row.seconds for row in rows))):
            if not 0 <= low <= middle <= high < math.inf:
                raise ValueError(f"an interval that is none: {low}, {middle}, {high}")
        if not math.isclose(math.fsum(row.seconds.p50 for row in rows), self.whole.p50, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError("the rows do not sum to the whole")
