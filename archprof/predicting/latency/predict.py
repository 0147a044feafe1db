"""A pass on a device: the times of its kernels put together, by row and in whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof.facts.ops import Signature
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.predicted import LatencyPrediction, PredictedRow
from archprof.facts.records import Profile
from archprof.predicting.devices import Device
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.kernels import time_kernel
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.spread import spread_row, spread_whole
from archprof.predicting.latency.works import list_works

TORCH_TF32 = (False, True)
"""What torch does unless told otherwise: matrix products keep float32, convolutions round to TF32."""


class _OpTime(NamedTuple):
    arithmetic: float
    memory: float
    start: float
    least: float
    host: float


class _Sums:
    """What is added up over the ops of one row."""

    __slots__ = ("arithmetic", "gap", "host", "least", "memory", "start")

    def __init__(self) -> None:
        self.arithmetic = self.memory = self.start = self.least = self.host = self.gap = 0.0

    def add(self, op: _OpTime) -> None:
        self.arithmetic += op.arithmetic
        self.memory += op.memory
        self.start += op.start
        self.least += op.least
        self.host += op.host
        self.gap += max(0.0, op.host - op.arithmetic - op.memory - op.start)

    @property
    def kernel(self) -> float:
        return self.arithmetic + self.memory + self.start


def predict_latency(
    profile: Profile,
    device: Device,
    *,
    eager: bool = True,
    compiled: bool = False,
    channels_last: bool = False,
    tf32: tuple[bool, bool] | None = None,
    measured: Sequence[Profile] = (),
) -> LatencyPrediction:
    """The time of the pass of a profile on a device, nine times of ten within its interval.

    Args:
        profile: of a forward, or of a training step (`train`, best with an optimizer), at the batch and dtype asked
            for; a profile of a decoder's phase is that of its prefill or of one token.
        device: of the catalogue, or calibrated: `archprof.predicting.devices.resolve_device`.
        eager: launched op by op by the host; otherwise captured in a graph, without the host.
        compiled: what `torch.compile` makes of it.
        channels_last: images have their channels last.
        tf32: whether float32 factors of matrix products, and of convolutions, are rounded to TF32; `None`: as torch
            does unless told otherwise, (False, True), or as the profile's own measured pass did.
        measured: saved profiles with measurements, which correct the model where they are of this device.

    Raises:
        UsageError: arithmetic or bandwidth of the device are not known.
    """
    rates = find_rates(device)
    allowed = TORCH_TF32 if tf32 is None else tf32
    rows = _sum_rows(profile, rates, allowed)
    kernel = sum(row.kernel for row in rows.values())
    host = sum(row.host for row in rows.values())
    whole = max(kernel, host) if eager else kernel
    waiting = whole - kernel
    gaps = sum(row.gap for row in rows.values())
    least = sum(row.least for row in rows.values())
    made = [_make_row(key, row, waiting * row.gap / gaps if gaps else 0.0, rates) for key, row in rows.items()]
    return LatencyPrediction(
        device=rates.name,
        standing=rates.standing,
        batch=profile.batch,
        dtype=profile.dtype,
        mode=profile.mode,
        autocast=profile.ran.autocast,
        eager=eager,
        compiled=compiled,
        channels_last=channels_last,
        tf32=allowed,
        whole=spread_whole(whole, least, rates),
        layers=tuple(row for row in made if isinstance(row.key, int)),
        rest=tuple(row for row in made if not isinstance(row.key, int)),
        kernel_seconds=kernel,
        host_seconds=host,
        roofline_seconds=least,
        complete=profile.totals.complete,
    )


def _sum_rows(profile: Profile, rates: Rates, tf32: tuple[bool, bool]) -> dict[RowKey, _Sums]:
    rows: dict[RowKey, _Sums] = {}
    known: dict[int, _OpTime] = {}
    for index in _list_steady_ops(profile):
        signature, call, phase, _, _ = profile.ops[index]
        key: RowKey = Outside.OPTIMIZER_STEP if phase == "optimizer" else call
        row = rows.get(key)
        if row is None:
            row = rows[key] = _Sums()
        time = known.get(id(signature))
        if time is None:
            time = known[id(signature)] = _time_op(signature, rates, tf32)
        row.add(time)
    return rows


def _list_steady_ops(profile: Profile) -> Sequence[int]:
    """The ops of a forward, or of a later training step, in which the optimizer's state is there already."""
    training, count = profile.training, len(profile.ops)
    return range(count) if training is None else (*range(training.first), *range(training.steady, count))


def _time_op(signature: Signature, rates: Rates, tf32: tuple[bool, bool]) -> _OpTime:
    constants = load_constants()
    arithmetic = memory = start = least = host = 0.0
    for work in list_works(signature):
        time = time_kernel(work, rates, tf32)
        if time.arithmetic > time.memory:
            arithmetic += time.arithmetic
        else:
            memory += time.memory
        start += time.start
        least += time.least
        host += constants["host_view_seconds" if work.kind == "view" else "host_op_seconds"]
    return _OpTime(arithmetic, memory, start, least, host)


def _make_row(key: RowKey, row: _Sums, waiting: float, rates: Rates) -> PredictedRow:
    seconds = spread_row(row.kernel + waiting, row.least, rates)
    return PredictedRow(key, seconds, row.arithmetic, row.memory, row.start + waiting, row.kernel)
