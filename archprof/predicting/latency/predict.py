"""A pass on a device: the times of its kernels put together, by row and in whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archprof.facts.ops import Phase, Signature
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.predicted import LatencyPrediction, PredictedRow
from archprof.facts.records import Profile
from archprof.predicting.devices import Device
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.fusion import Fusion, find_fusions
from archprof.predicting.latency.kernels import Setting, time_kernel
from archprof.predicting.latency.launches import classify_launch, join_host, list_launch_seconds
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.refine import find_correction
from archprof.predicting.latency.spread import Doubt, find_half_width, spread_row, spread_whole
from archprof.predicting.latency.works import Work, list_works

TORCH_TF32 = (False, True)
"""What torch does unless told otherwise: matrix products keep float32, convolutions round to TF32."""

BOUND_NOTE = "Nothing like this device was ever measured: low is a bound, the roofline; the rest is a guess."
COMPILED_NOTE = (
    "Compiled passes were not among what the model was fitted on: chains of pointwise ops count as one kernel."
)


class _OpTime(NamedTuple):
    """Seconds of one op: bound by arithmetic, by memory, to start its kernels; its roofline; the host's."""

    arithmetic: float
    memory: float
    start: float
    least: float
    host: float


class _Sums:
    """What is added up over the ops of one row."""

    __slots__ = ("arithmetic", "gap", "host", "kinds", "least", "memory", "start")

    def __init__(self) -> None:
        self.arithmetic = self.memory = self.start = self.least = self.host = self.gap = 0.0
        self.kinds: dict[str, float] = {}

    def add(self, time: _OpTime, kind: str) -> None:
        """One op; `kind`: of its first kernel."""
        kernel = time.arithmetic + time.memory + time.start
        self.arithmetic += time.arithmetic
        self.memory += time.memory
        self.start += time.start
        self.least += time.least
        self.host += time.host
        self.gap += max(0.0, time.host - kernel)
        self.kinds[kind] = self.kinds.get(kind, 0.0) + kernel

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
            does unless told otherwise, (False, True).
        measured: saved profiles with measurements, which correct the model where they are of this device.

    Raises:
        UsageError: arithmetic or bandwidth of the device are not known.
    """
    rates = find_rates(device)
    setting = Setting(TORCH_TF32 if tf32 is None else tf32, channels_last)
    rows = sum_rows(profile, rates, setting, compiled=compiled)
    correction = find_correction(measured, device, time_measured) if measured else None
    if correction is not None:
        rates = rates._replace(standing="refined")
        _scale(rows, correction.factor)
    return _put_together(profile, rates, setting, rows, eager=eager, compiled=compiled)


def time_measured(profile: Profile, device: Device, setting: Setting, eager: bool, compiled: bool) -> float:
    """Seconds predicted for a pass that was measured, without any correction."""
    rates = find_rates(device)
    rows = sum_rows(profile, rates, setting, compiled=compiled)
    kernel, host = (sum(getattr(row, name) for row in rows.values()) for name in ("kernel", "host"))
    return float(join_host(kernel, host, load_constants()["kernels"])) if eager else kernel


def _put_together(
    profile: Profile, rates: Rates, setting: Setting, rows: dict[RowKey, _Sums], *, eager: bool, compiled: bool
) -> LatencyPrediction:
    """Where the host is too slow, the device waits: that time goes to the rows whose launches take longer than they."""
    constants = load_constants()["kernels"]
    kernel, host, least, gaps = (sum(getattr(row, name) for row in rows.values()) for name in _SUMMED)
    whole = float(join_host(kernel, host, constants)) if eager else kernel
    waiting = whole - kernel
    shares = {key: row.gap / gaps if gaps else row.host / host if host else 0.0 for key, row in rows.items()}
    doubt = Doubt(rates, profile.mode, profile.product_dtype, waiting / whole if whole else 0.0, compiled)
    half = find_half_width(doubt, load_constants()["spread"])
    made = [_make_row(key, row, waiting * shares[key], half, rates) for key, row in rows.items()]
    return LatencyPrediction(
        device=rates.name,
        standing=rates.standing,
        batch=profile.batch,
        dtype=profile.dtype,
        mode=profile.mode,
        autocast=profile.ran.autocast,
        eager=eager,
        compiled=compiled,
        channels_last=setting.channels_last,
        tf32=setting.tf32,
        whole=spread_whole(whole, least, half, rates),
        layers=tuple(row for row in made if isinstance(row.key, int)),
        rest=tuple(row for row in made if not isinstance(row.key, int)),
        kernel_seconds=kernel,
        host_seconds=host,
        roofline_seconds=least,
        complete=profile.totals.complete,
        notes=(BOUND_NOTE,) * (rates.standing == "bound") + (COMPILED_NOTE,) * compiled,
    )


_SUMMED = ("kernel", "host", "least", "gap")


def _scale(rows: Mapping[RowKey, _Sums], factor: float) -> None:
    for row in rows.values():
        for name in ("arithmetic", "memory", "start", "host", "gap"):
            setattr(row, name, getattr(row, name) * factor)


def sum_rows(profile: Profile, rates: Rates, setting: Setting, *, compiled: bool) -> dict[RowKey, _Sums]:
    """What the ops of each row take."""
    rows: dict[RowKey, _Sums] = {}
    known: dict[tuple[int, Phase], tuple[_OpTime, str]] = {}
    steady = list_steady_ops(profile)
    fusions = find_fusions(profile, steady) if compiled else {}
    for index in steady:
        signature, call, phase, _, _ = profile.ops[index]
        key: RowKey = Outside.OPTIMIZER_STEP if phase == "optimizer" else call
        row = rows.get(key)
        if row is None:
            row = rows[key] = _Sums()
        found = known.get((id(signature), phase)) if index not in fusions else None
        if found is None:
            found = _time_op(signature, phase, rates, setting, fusions.get(index))
            if index not in fusions:
                known[id(signature), phase] = found
        row.add(*found)
    return rows


def list_steady_ops(profile: Profile) -> Sequence[int]:
    """The ops of a forward, or of a later training step, in which the optimizer's state is there already."""
    training, count = profile.training, len(profile.ops)
    return range(count) if training is None else (*range(training.first), *range(training.steady, count))


def _time_op(
    signature: Signature, phase: Phase, rates: Rates, setting: Setting, fusion: Fusion | None
) -> tuple[_OpTime, str]:
    """The seconds of an op, and the class of its first kernel."""
    constants = load_constants()["kernels"]
    works = list_works(signature)
    arithmetic = memory = start = least = 0.0
    for work in works:
        if work.kind == "view":
            continue
        time = time_kernel(fusion.apply(work) if fusion else work, rates, setting, constants)
        seconds, joined = time.seconds - constants["start"], fusion is not None and fusion.joins
        if time.arithmetic > time.memory:
            arithmetic += seconds
        else:
            memory += seconds
        start += 0.0 if joined else constants["start"]
        least += time.least
    launch = classify_launch(signature, phase, works)
    host = list_launch_seconds(constants)[launch] * rates.host
    return _OpTime(arithmetic, memory, start, least, 0.0 if fusion and fusion.joins else host), works[0].kind


def _make_row(key: RowKey, row: _Sums, waiting: float, half: float, rates: Rates) -> PredictedRow:
    seconds = row.kernel + waiting
    kind = max(row.kinds, key=row.kinds.__getitem__)
    spread = spread_row(seconds, row.least, kind, waiting / seconds if seconds else 0.0, half, rates)
    return PredictedRow(key, spread, row.arithmetic, row.memory, row.start + waiting, row.kernel)


def list_counts(profile: Profile) -> tuple[dict[Work, int], list[int]]:
    """How often a pass runs each kernel, and how many ops of each kind the host launches: what scores are made of."""
    works: dict[Work, int] = {}
    launches = [0] * 6
    for index in list_steady_ops(profile):
        signature, _, phase, _, _ = profile.ops[index]
        found = list_works(signature)
        launches[classify_launch(signature, phase, found)] += 1
        for work in found:
            if work.kind != "view":
                works[work] = works.get(work, 0) + 1
    return works, launches
