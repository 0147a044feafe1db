"""A pass on a device: the times of its kernels put together, by row and in whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from archprof.facts.predicted import LatencyPrediction, PredictedRow, Seconds
from archprof.facts.records import Profile
from archprof.predicting.devices import Device
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.kernels import Setting, is_converted
from archprof.predicting.latency.launches import join_host
from archprof.predicting.latency.passes import Pass, read_pass
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.refine import find_correction
from archprof.predicting.latency.spread import Doubt, find_half_width, spread_row, spread_whole
from archprof.predicting.latency.times import Time, time_sums

TORCH_TF32 = (False, True)
"""What torch does unless told otherwise: matrix products keep float32, convolutions round to TF32."""

_new_row: Callable[[Iterable[Any]], PredictedRow] = partial(tuple.__new__, PredictedRow)
"""What `_make` does, without a function of Python in between: one per row and device."""

BOUND_NOTE = "Nothing like this device was ever measured: low is a bound, the roofline; the rest is a guess."
COMPILED_NOTE = (
    "Compiled passes were not among what the model was fitted on: chains of pointwise ops count as one kernel."
)


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
    run = read_pass(profile, compiled=compiled)
    times = time_sums(run, rates, setting)
    correction = find_correction(measured, device, time_measured) if measured else None
    if correction is not None:
        rates = rates._replace(standing="refined")
        times = [time.scale(correction.factor) for time in times]
    return _put_together(profile, rates, setting, run, times, eager=eager, compiled=compiled)


def time_measured(profile: Profile, device: Device, setting: Setting, eager: bool, compiled: bool) -> float:
    """Seconds predicted for a pass that was measured, without any correction."""
    run = read_pass(profile, compiled=compiled)
    times = time_sums(run, find_rates(device), setting)
    kernel, host, _, _ = _sum_rows(run, times)
    return float(join_host(kernel, host, load_constants()["kernels"])) if eager else kernel


def _sum_rows(run: Pass, times: Sequence[Time]) -> tuple[float, float, float, float]:
    """Kernels, host, roofline and gaps of the whole pass."""
    kernel = host = least = gap = 0.0
    for place, count in Counter([place for _, place in run.rows]).items():
        time = times[place]
        kernel += count * time.kernel
        host += count * time.host
        least += count * time.least
        gap += count * time.gap
    return kernel, host, least, gap


def _put_together(
    profile: Profile, rates: Rates, setting: Setting, run: Pass, times: Sequence[Time], *, eager: bool, compiled: bool
) -> LatencyPrediction:
    """Where the host is too slow, the device waits: that time goes to the rows whose launches take longer than they."""
    kernel, host, least, gaps = _sum_rows(run, times)
    whole = float(join_host(kernel, host, load_constants()["kernels"])) if eager else kernel
    waiting = whole - kernel
    share = waiting / whole if whole else 0.0
    doubt = Doubt(rates, profile.mode, profile.product_dtype, share, compiled, setting.channels_last)
    spread, is_bound = load_constants()["spread"], rates.standing == "bound"
    half = find_half_width(doubt, spread)
    shares = [time.gap / gaps if gaps else time.host / host if host else 0.0 for time in times]
    parts = [
        _spread_time(time, waiting * share, half, spread, is_bound) for time, share in zip(times, shares, strict=True)
    ]
    made = [_new_row((key, *parts[place])) for key, place in run.rows]
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
        layers=tuple([row for row in made if isinstance(row.key, int)]),
        rest=tuple([row for row in made if not isinstance(row.key, int)]),
        kernel_seconds=kernel,
        host_seconds=host,
        roofline_seconds=least,
        complete=profile.totals.complete,
        notes=tuple(_list_notes(profile, rates, compiled=compiled)),
    )  # fmt: skip


def _list_notes(profile: Profile, rates: Rates, *, compiled: bool) -> Iterator[str]:
    if rates.standing == "bound":
        yield BOUND_NOTE
    if compiled:
        yield COMPILED_NOTE
    if is_converted(profile.product_dtype, rates):
        yield (
            f"{rates.name} has no fast arithmetic in {profile.product_dtype}: its products are taken to run at the "
            "rate of float32."
        )


def _spread_time(
    time: Time, waiting: float, half: float, spread: Mapping[str, Any], is_bound: bool
) -> tuple[Seconds, float, float, float, float]:
    """The fields of a `PredictedRow` behind its key."""
    arithmetic, memory, start, least, _, _, kind = time
    kernel = arithmetic + memory + start
    seconds = kernel + waiting
    interval = spread_row(seconds, least, kind, waiting / seconds if seconds else 0.0, half, spread, is_bound)
    return interval, arithmetic, memory, start + waiting, kernel
