"""Fits the constants of predicted latency: `python tests/prediction/latency_fit.py` writes archprof/data/latency.json.

All measurements of `latency_rows.py` weigh in, each group of rows alike however many there are, and each constant is
drawn to what physics, or common sense, says of it. The least squares are of logarithms, and outliers count linearly.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from prediction.latency_batch import Array, Batch, Slowness
from prediction.latency_rows import Row, list_rows

TARGET = Path(__file__).parents[2] / "archprof" / "data" / "latency.json"

PRIORS: dict[str, float] = {
    # shares of the peak that arithmetic sustains, and what watts leave of it
    "tensor": 0.9, "simt": 0.93, "boost": 1.1, "tensor_early": 0.85, "tf32": 0.8, "converted": 0.8,
    "arithmetic_pascal": 0.9,
    "tensor_per_watt": 0.2e12, "tensor_power": 0.15, "simt_per_watt": 0.06e12,
    "simt_power": 0.6,
    # tiles and waves; bytes that the cache hands to one multiprocessor in one clock
    "feed": 30,
    "simt_small": 0.12, "simt_whole": 0.02, "simt_depth": 30, "tensor_small": 0.1, "tensor_whole": 0.03,
    "tensor_depth": 40, "split": 256, "deep": 4000, "winograd": 1.3,
    # by class
    "slow_matmul_simt": 1, "slow_matmul_tensor": 1, "slow_bmm_simt": 1.1, "slow_bmm_tensor": 1.1,
    "slow_conv_simt": 1.1, "slow_conv_tensor": 1.1, "slow_conv1x1_simt": 1.05, "slow_conv1x1_tensor": 1.05,
    "slow_grouped_simt": 1.5, "slow_grouped_tensor": 1.5, "slow_grouped_back_simt": 2, "slow_grouped_back_tensor": 2,
    "slow_dgrad_simt": 1.2, "slow_dgrad_tensor": 1.2, "slow_wgrad_simt": 1.3, "slow_wgrad_tensor": 1.3,
    "attention_tensor": 1.4, "attention_simt": 1.4, "attention_depth": 16, "depthwise_first": 2, "depthwise_last": 2,
    "depthwise_back_first": 2, "depthwise_back_last": 2, "depthwise_pascal": 2, "converted_depthwise": 3,
    "grouped_last": 1.2, "grouped_back_last": 8, "grouped_back_last_shared": 1, "odd_groups_last": 1.5,
    "unaligned_matmul": 1.2,
    # bytes: the share of the bandwidth, and how many times those of an op
    "bandwidth": 0.88, "bandwidth_pascal": 0.81, "cache_share": 0.5, "cache_gain": 0.5, "row_cache": 0.2,
    "transposed": 1, "permuted": 1.3, "depthwise_last_bytes": 1, "bytes_matmul": 1, "bytes_bmm": 1, "bytes_conv": 1,
    "bytes_conv1x1": 1, "bytes_grouped": 1, "bytes_grouped_back": 1, "bytes_dgrad": 1, "bytes_wgrad": 1,
    "bytes_depthwise": 1.2, "bytes_depthwise_back": 1.5, "bytes_attention": 1, "bytes_norm": 1.1,
    "bytes_group_norm": 1.1,
    "group_norm_last": 2.5, "bytes_softmax": 1.3,
    "bytes_pool": 1.3, "bytes_reduce": 1.1, "bytes_pointwise": 1, "bytes_gather": 1.5, "bytes_copy": 1.1,
    "bytes_optimizer": 1.1,
    # seconds; a round trip to memory takes some 500 cycles
    "overlap": 3, "start": 3.5e-6, "round_trip": 3e-7, "channel": 1.5e-7, "channel_half": 6e-7,
    "host_convolution": 50e-6, "host_norm": 40e-6, "host_op": 15e-6, "host_view": 2e-6, "host_back": 2,
    "host_optimizer": 5e-6, "join": 2.5, "copy": 1.5e-3, "call": 2e-4,
}  # fmt: skip
"""Where each constant is drawn to. Bandwidth of Pascal: P100 reaches three quarters in BabelStream, later chips nine
tenths."""

FIXED = frozenset({"tensor_per_watt", "simt_per_watt", "simt_power", "bytes_pointwise", "feed"})
"""Not fitted: they only set the scale of another, or no device here tells."""

FREEDOM = 0.7
"""The standard deviation of a constant around its prior, as a logarithm; of some it is less."""

_PRODUCTS = ("matmul", "bmm", "conv", "conv1x1", "dgrad", "wgrad")
_GROUPED = ("grouped", "grouped_back")
_MOVERS = ("attention", *_PRODUCTS, *_GROUPED, "optimizer", "norm", "group_norm", "softmax", "copy", "reduce")
TIGHT: dict[str, float] = {
    "tensor": 0.2, "simt": 0.2, "deep": 0.4, "tensor_early": 0.2, "tensor_whole": 0.4,
    "tensor_small": 0.3,
    "round_trip": 0.3, "group_norm_last": 0.2, "transposed": 0.4, "attention_tensor": 0.3,
    "tf32": 0.2, "start": 0.1, "row_cache": 0.7, "boost": 0.05, "bandwidth_pascal": 0.04, "arithmetic_pascal": 0.15,
    "overlap": 0.3, "join": 0.15, "cache_share": 0.5, "cache_gain": 0.3, "tensor_power": 0.3,
    "tensor_depth": 0.2, "permuted": 0.2, "simt_depth": 0.4, "host_view": 0.3, "host_op": 0.2, "host_convolution": 0.2,
    "host_norm": 0.2,
    **{f"slow_{kind}_tensor": 0.15 for kind in _PRODUCTS}, **{f"slow_{kind}_simt": 0.25 for kind in _PRODUCTS},
    **{f"slow_{kind}_{cores}": 0.4 for kind in _GROUPED for cores in ("tensor", "simt")},
    **{f"bytes_{kind}": 0.15 for kind in _MOVERS},
    **{f"bytes_{kind}": 0.3 for kind in ("depthwise", "depthwise_back")}, "bytes_pool": 0.4, "bytes_gather": 0.4,
}  # fmt: skip
"""Products share their cores: what all of them reach is known better than each, and a class must not take the place of
what the others lack on a device that is left out. Small tiles are slow for want of bytes, which `feed` has."""

MACHINE_FREEDOM = {"host": 0.4, "copy": 0.6, "kernel": 0.1}
"""Of each of torchvision's machines: how much longer its host takes, copying to its GPU, and its kernels; by these one
machine differs from another with the same GPU. They are fitted so that they do not bend what all devices share, and are
1 in every prediction."""

GROUP_WEIGHTS = {"timm": 50, "torchvision": 22, "NeuSight conv": 18, "large products": 3, "Lambda": 6,
                 "NeuSight models": 6, "language models": 5, "Llama 2": 3}  # fmt: skip
OTHER_WEIGHT = 10

OUTLIER = 0.1
"""From this error on, a residual counts linearly."""

ROUNDS, DAMPING = 9, 1e-2


def thin(rows: Sequence[Row], every: int = 4) -> list[Row]:
    """The rows to fit on: a share of the models of timm, and of the many ops of NeuSight, which teach no more."""
    kept, seen = [], defaultdict(int)
    shares = {"NeuSight conv": 20, "NeuSight bmm": 20}
    models = sorted({row.pass_key.partition("|")[0] for row in rows if row.source == "timm"})
    few = set(models[::every])
    for row in rows:
        seen[row.source, row.device] += 1
        if row.source == "timm":
            if row.pass_key.partition("|")[0] in few:
                kept.append(row)
        elif seen[row.source, row.device] % shares.get(row.source, 1) == 0 or _is_rare(row):
            kept.append(row)
    return kept


def _is_rare(row: Row) -> bool:
    """Of batched products on a V100 there are few."""
    return row.source == "NeuSight bmm" and row.chip == "V100"


def weigh(rows: Sequence[Row]) -> Array:
    """The square root of each row's weight: rows of one source, device, release of torch and kind of pass share theirs,
    and so do torchvision's machines with one device, of which one has three and another one.
    """
    cells: dict[Any, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(rows):
        release = "" if row.machine == row.system else row.system
        kind = row.source, row.device, release, row.mode, row.dtype, row.setting.channels_last
        cells[kind][row.machine].append(index)
    weights = np.zeros(len(rows))
    for (source, *_), machines in cells.items():
        for indices in machines.values():
            weights[indices] = math.sqrt(GROUP_WEIGHTS.get(source, OTHER_WEIGHT) / len(machines) / len(indices))
    return weights


def fit(rows: Sequence[Row], rounds: int = ROUNDS) -> dict[str, float]:
    """The constants that suit these rows best."""
    batch = Batch(rows)
    systems = sorted({row.system for row in rows if row.source == "torchvision"})
    names, own = [name for name in PRIORS if name not in FIXED], len(systems)
    machines = [freedom for freedom in MACHINE_FREEDOM.values() for _ in systems]
    prior = np.log([PRIORS[name] for name in names] + [1.0] * len(machines))
    freedom = np.array([TIGHT.get(name, FREEDOM) for name in names] + machines)
    places = np.array([systems.index(row.system) if row.system in systems else own for row in rows])
    weights, measured = weigh(rows), np.log(batch.seconds)

    def residuals(point: Array) -> Array:
        constants = PRIORS | dict(zip(names, np.exp(point[: len(names)]).tolist(), strict=True))
        factors = np.exp(point[len(names) :]).reshape(len(MACHINE_FREEDOM), own)
        slow = Slowness(*(np.append(each, 1.0)[places] for each in factors))
        errors = (np.log(batch.predict(constants, slow)) - measured) / OUTLIER
        bent = np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))
        return np.concatenate([weights * bent, (point - prior) / freedom])

    point = minimize(residuals, prior, rounds)
    return PRIORS | dict(zip(names, np.exp(point[: len(names)]).tolist(), strict=True))


def minimize(residuals: Callable[[Array], Array], start: Array, rounds: int, step: float = 1e-4) -> Array:
    """Levenberg and Marquardt's least squares, with differences for derivatives."""
    point, found, damping = start.copy(), residuals(start), DAMPING
    for _ in range(rounds):
        slopes = np.empty((len(found), len(point)))
        for place in range(len(point)):
            moved = point.copy()
            moved[place] += step
            slopes[:, place] = (residuals(moved) - found) / step
        square, slope = slopes.T @ slopes, slopes.T @ found
        for _ in range(8):
            trial = point - np.linalg.solve(square + damping * np.diag(np.diag(square)), slope)
            trial = np.clip(trial, point - 1.0, point + 1.0)
            tried = residuals(trial)
            if tried @ tried < found @ found:
                point, found, damping = trial, tried, damping / 4
                break
            damping *= 6
    return point


def write_constants(constants: Mapping[str, float], spread: Mapping[str, Any], devices: Sequence[str]) -> None:
    """The data file of the package."""
    kernels = {name: float(f"{value:.4g}") for name, value in constants.items()}
    made = {"made_by": "tests/prediction/score_latency.py --write", "seen_devices": sorted(devices),
            "kernels": kernels, "spread": spread}  # fmt: skip
    TARGET.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    every = list(list_rows())
    print(json.dumps(fit(thin(every)), indent=2))
