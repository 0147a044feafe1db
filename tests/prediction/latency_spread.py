"""How wide intervals must be to hold nine of ten of what was left out, and whether they do."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archprof.predicting.devices import resolve_device
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.spread import Doubt, find_half_width
from prediction.latency_batch import Array
from prediction.latency_rows import Row

HELD = 0.9
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


def find_group(row: Row, rates: Rates) -> str:
    """Passes that share a width."""
    half = row.dtype in ("float16", "bfloat16")
    return f"{('half' if rates.has_tensor_cores else 'converted') if half else 'full'} {row.mode}"


def _quantile(errors: Sequence[float]) -> float:
    return float(np.quantile(np.abs(errors), HELD))


def find_spread(rows: Sequence[Row], errors: Array, waiting: Array, seen: Array) -> dict[str, Any]:
    """The widths by what a prediction is about; `seen`: the device was measured, and the model's family left out."""
    rates = {row.device: find_rates(resolve_device(row.device)) for row in rows}
    passes: dict[Any, list[float]] = defaultdict(list)
    kinds, host = defaultdict(list), []
    for row, error, share, known in zip(rows, errors, waiting, seen, strict=True):
        if row.work is not None:
            kinds[row.work.kind].append(error)
        elif share > WAITS:
            host.append(error)
        elif share < WORKS:
            passes[bool(known), find_group(row, rates[row.device])].append(error)
    spread: dict[str, Any] = {"host": _quantile(host) if host else 0.5}
    everything = [error for found in passes.values() for error in found]
    for known, name in ((True, "seen"), (False, "unseen")):
        spread[name] = {
            f"{group} {mode}": _width(passes, known, f"{group} {mode}", _quantile(everything))
            for group in ("full", "half", "converted")
            for mode in ("forward", "train")
        }
    spread["rows"] = {kind: _quantile(found) for kind, found in kinds.items()}
    spread["rows"]["other"] = max(spread["rows"].values(), default=0.5)
    intensity = [rates[row.device].peaks["float32"] / rates[row.device].bandwidth for row in rows]
    spread |= {"intensities": [min(intensity), max(intensity)], "shrinks": {**SHRINKS, "bound": 1.0 + BOUND}}
    return spread | {"far": FAR, "compiled": COMPILED}


def _width(passes: Mapping[Any, list[float]], known: bool, group: str, fallback: float) -> float:
    """That of the group, or of its like on unseen devices, which is wider, where there are too few rows."""
    for key in ((known, group), (not known, group)):
        if len(passes.get(key, ())) >= FEWEST:
            return _quantile(passes[key])
    return fallback


def hold(row: Row, error: float, share: float, known: bool, spread: Mapping[str, Any]) -> bool:
    """Whether the interval of a row holds what was measured."""
    rates = find_rates(resolve_device(row.device))._replace(standing="seen" if known else "unseen")
    if row.work is not None:
        kernel = spread["rows"].get(row.work.kind, spread["rows"]["other"])
        half = math.hypot(kernel * (1.0 - share), spread["host"] * share)
    else:
        half = find_half_width(Doubt(rates, row.mode, row.dtype, share, False), spread)
    return abs(error) <= half
