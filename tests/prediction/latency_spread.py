"""How wide intervals must be to hold nine of ten of what was left out, and whether they do."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from archprof.predicting.devices import resolve_device
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.spread import LAYOUTS, Doubt, find_half_width
from prediction.latency_batch import Array
from prediction.latency_rows import Row

HELD, HELD_HOST = 0.9, 0.94
"""Of what was left out; more of hosts, since few were measured, and each differs from the others in its own way."""

STUDENT = {3: 2.92, 4: 2.35, 5: 2.13, 6: 2.02, 7: 1.94}
"""By how many standard deviations, of what so many devices are off, nine of ten further ones are off at most: Student's
t at 95 %. Of fewer than three it is not known, and that of three is taken."""

WAITS, WORKS = 0.5, 0.3
"""Shares of waiting above and below which a row tells of the host, and of the kernels."""

FEWEST = 12
"""Rows from which on a group has a width of its own."""

SHRINKS = {"calibrated": 0.7, "refined": 0.5}
FAR, COMPILED, BOUND = 0.15, 0.3, 1.0
"""Not measured: what a calibration and saved measurements take off, what an octave outside the measured range of
arithmetic per byte adds, what fusion adds, and the doubt of a kind of device that nobody measured."""


def is_op(row: Row) -> bool:
    """Whether one kernel was measured alone."""
    return row.work is not None


@cache
def read_rates(device: str) -> Rates:
    """Of a device by its name in the catalogue."""
    return find_rates(resolve_device(device))


def find_group(row: Row, rates: Rates) -> str:
    """Passes that share a width."""
    half = row.dtype in ("float16", "bfloat16")
    return f"{('half' if rates.has_tensor_cores else 'converted') if half else 'full'} {row.mode}"


class Error(NamedTuple):
    """The logarithm of predicted over measured, and whose it is: chips count alike, and so do machines of a chip."""

    log: float
    chip: str
    machine: str


Errors = list[Error]


def _quantile(errors: Errors, held: float) -> float:
    """What holds so many of the absolute errors, if each chip counts alike."""
    counts = Counter(error.chip for error in errors)
    ordered = sorted((abs(error.log), 1.0 / counts[error.chip]) for error in errors)
    sums = np.cumsum([weight for _, weight in ordered])
    return float(ordered[int(np.searchsorted(sums, held * sums[-1]))][0])


def find_spread(rows: Sequence[Row], errors: Array, waiting: Array, seen: Array) -> dict[str, Any]:
    """The widths by what a prediction is about; `seen`: the device was measured, and the model's family left out."""
    rates = {device: read_rates(device) for device in {row.device for row in rows}}
    found = [Error(float(error), row.chip, row.machine) for row, error in zip(rows, errors, strict=True)]
    seen_passes: dict[str, Errors] = defaultdict(list)
    unseen_passes: dict[str, Errors] = defaultdict(list)
    kinds: dict[str, Errors] = defaultdict(list)
    host: Errors = []
    for row, error, share, known in zip(rows, found, waiting, seen, strict=True):
        if row.work is not None:
            kinds[row.work.kind].append(error)
        elif share > WAITS:
            host.append(error)
        elif share < WORKS:
            group = find_group(row, rates[row.device])
            if known:
                seen_passes[group + LAYOUTS[row.setting.channels_last]].append(error)
            else:
                unseen_passes[group].append(error)
    spread: dict[str, Any] = {"host": _quantile(host, HELD_HOST) if host else 0.5}
    spread["unseen"] = _list_unseen(unseen_passes)
    spread["seen"] = {
        f"{group}{layout}": _quantile(seen_passes[group + layout], HELD)
        if len(seen_passes[group + layout]) >= FEWEST
        else width
        for group, width in spread["unseen"].items()
        for layout in LAYOUTS
    }
    spread["rows"] = {kind: widen(found) for kind, found in kinds.items()}
    spread["rows"]["other"] = max(spread["rows"].values(), default=0.5)
    intensity = [rates[row.device].peaks["float32"] / rates[row.device].bandwidth for row in rows]
    spread |= {"intensities": [min(intensity), max(intensity)], "shrinks": {**SHRINKS, "bound": 1.0 + BOUND}}
    return spread | {"far": FAR, "compiled": COMPILED}


def _list_unseen(passes: Mapping[str, Errors]) -> dict[str, float]:
    """The widths on devices that nobody measured; that of all passes together for those of which there are few."""
    widest = widen([error for found in passes.values() for error in found])
    groups = (f"{group} {mode}" for group in ("full", "half", "converted") for mode in ("forward", "train"))
    return {group: widen(passes[group]) if len(passes.get(group, ())) >= FEWEST else widest for group in groups}


def widen(errors: Errors) -> float:
    """The width for a device that is none of these.

    By how much the nets of one machine differ from its middle is well known; how far that middle is off is known of few
    devices, and is what one more of them adds.
    """
    machines: dict[tuple[str, str], list[float]] = defaultdict(list)
    for error in errors:
        machines[error.chip, error.machine].append(error.log)
    chips = Counter(chip for chip, _ in machines)
    middles = {key: float(np.median(logs)) for key, logs in machines.items()}
    scatter = _quantile([one._replace(log=one.log - middles[one.chip, one.machine]) for one in errors], HELD)
    off = math.sqrt(sum(middle**2 / chips[chip] for (chip, _), middle in middles.items()) / len(chips))
    return math.hypot(scatter, off * STUDENT[min(max(len(chips), min(STUDENT)), max(STUDENT))])


def hold(row: Row, error: float, share: float, known: bool, spread: Mapping[str, Any]) -> bool:
    """Whether the interval of a row holds what was measured."""
    rates = read_rates(row.device)._replace(standing="seen" if known else "unseen")
    if row.work is not None:
        kernel = spread["rows"].get(row.work.kind, spread["rows"]["other"])
        half = math.hypot(kernel * (1.0 - share), spread["host"] * share)
    else:
        half = find_half_width(Doubt(rates, row.mode, row.dtype, share, False, row.setting.channels_last), spread)
    return abs(error) <= half
