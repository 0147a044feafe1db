"""How wide intervals must be to hold nine of ten of what was left out, and whether they do."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from archprof.predicting.devices import resolve_device
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.spread import Doubt, find_half_width
from prediction.latency_batch import Array
from prediction.latency_rows import Row

HELD, HELD_HOST, HELD_OPS = 0.9, 0.94, 0.92
"""Of what was left out; more of hosts, since few were measured, and each differs from the others in its own way."""

FEW_DEVICES = {3: 1.78, 4: 1.43, 5: 1.30, 6: 1.22, 7: 1.18}
"""What a width takes that comes of so many devices, to hold for one more: Student's t over the normal's quantile, both
at 95 %. Of fewer than three it is not known, and that of three is taken."""

NARROWEST_OP = 0.15
"""No single kernel is surer than that: devices reach between 85 and 92 % of their bandwidth."""

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


Errors = list[tuple[float, str]]
"""Logarithms of predicted over measured, each with its chip."""


def _quantile(errors: Errors, held: float) -> float:
    """What holds so many of the absolute errors, if each chip counts alike."""
    counts = Counter(chip for _, chip in errors)
    ordered = sorted((abs(error), 1.0 / counts[chip]) for error, chip in errors)
    sums = np.cumsum([weight for _, weight in ordered])
    return float(ordered[int(np.searchsorted(sums, held * sums[-1]))][0])


def find_spread(rows: Sequence[Row], errors: Array, waiting: Array, seen: Array) -> dict[str, Any]:
    """The widths by what a prediction is about; `seen`: the device was measured, and the model's family left out."""
    rates = {device: read_rates(device) for device in {row.device for row in rows}}
    passes: dict[Any, Errors] = defaultdict(list)
    kinds: dict[str, Errors] = defaultdict(list)
    host: Errors = []
    for row, error, share, known in zip(rows, errors, waiting, seen, strict=True):
        if row.work is not None:
            kinds[row.work.kind].append((float(error), row.chip))
        elif share > WAITS:
            host.append((float(error), row.chip))
        elif share < WORKS:
            passes[bool(known), find_group(row, rates[row.device])].append((float(error), row.chip))
    spread: dict[str, Any] = {"host": _quantile(host, HELD_HOST) if host else 0.5}
    everything = [error for found in passes.values() for error in found]
    for known, name in ((True, "seen"), (False, "unseen")):
        spread[name] = {
            f"{group} {mode}": _width(passes, known, f"{group} {mode}", _widen(everything))
            for group in ("full", "half", "converted")
            for mode in ("forward", "train")
        }
    spread["rows"] = {kind: max(_quantile(found, HELD_OPS), NARROWEST_OP) for kind, found in kinds.items()}
    spread["rows"]["other"] = max(spread["rows"].values(), default=0.5)
    intensity = [rates[row.device].peaks["float32"] / rates[row.device].bandwidth for row in rows]
    spread |= {"intensities": [min(intensity), max(intensity)], "shrinks": {**SHRINKS, "bound": 1.0 + BOUND}}
    return spread | {"far": FAR, "compiled": COMPILED}


def _width(passes: Mapping[Any, Errors], known: bool, group: str, fallback: float) -> float:
    """That of the group, or of its like on unseen devices, which is wider, where there are too few rows."""
    for key in ((known, group), (not known, group)):
        if len(passes.get(key, ())) >= FEWEST:
            return _quantile(passes[key], HELD) if key[0] else _widen(passes[key])
    return fallback


def _widen(errors: Errors) -> float:
    """The width for a device that is none of these."""
    devices = len({chip for _, chip in errors})
    return _quantile(errors, HELD) * FEW_DEVICES[min(max(devices, min(FEW_DEVICES)), max(FEW_DEVICES))]


def hold(row: Row, error: float, share: float, known: bool, spread: Mapping[str, Any]) -> bool:
    """Whether the interval of a row holds what was measured."""
    rates = read_rates(row.device)._replace(standing="seen" if known else "unseen")
    if row.work is not None:
        kernel = spread["rows"].get(row.work.kind, spread["rows"]["other"])
        half = math.hypot(kernel * (1.0 - share), spread["host"] * share)
    else:
        half = find_half_width(Doubt(rates, row.mode, row.dtype, share, False), spread)
    return abs(error) <= half
