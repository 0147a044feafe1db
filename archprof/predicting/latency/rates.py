"""What a device can do, as the model of a kernel needs it: from the catalogue, or as it was calibrated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

from archprof.errors import UsageError
from archprof.facts.predicted import Standing
from archprof.predicting import devices
from archprof.predicting.devices import Device
from archprof.predicting.latency.constants import load_constants

GENERATIONS = {
    "pascal": r"\bP(4|40|100)\b|GTX 10|TITAN Xp?\b|\bP\d000\b", "volta": r"V100|TITAN V\b|Xavier",
    "turing": r"\bT4\b|RTX 20|TITAN RTX|GTX 16|Quadro RTX|\bT\d+00",
    "ampere": r"\bA\d+G?\b|RTX 30|RTX A|\bOrin\b", "ada": r"\bL\d+S?\b|RTX 40|\bAda\b", "hopper": r"\bG?H\d00",
    "blackwell": r"\bG?B\d00|\bGB10\b|RTX 50|Blackwell",
}  # fmt: skip
"""NVIDIA's, by the names of their devices."""

USUAL_LAUNCH_SECONDS = 6e-6
"""From one small op to the next, as `archprof calibrate` measures it, on the hosts of what was fitted; a guess."""

Maker = Literal["nvidia", "amd", "intel", "apple", "other"]

TYPICAL_L2_BYTES, TYPICAL_SM = 6e6, 80
"""Of a device whose datasheet does not say."""

CPU_SM = 1
"""The cores of a processor share out work as finely as they like: none waits for a tile of another."""


class Rates(NamedTuple):
    """What a device can do at most.

    Attributes:
        name, maker: of the device; a CPU is of the maker "other".
        peaks: FLOP/s by dtype, dense, with "tf32" where it has that.
        bandwidth: B/s to its memory.
        l2: bytes of its last cache.
        sm: multiprocessors, or what stands for them.
        is_cpu: its vector units run a depthwise convolution as any other, and what starts an op runs it.
        clock: Hz at boost, `None` where it is not known.
        watts: the power it may draw, `None` where it is not known.
        generation: of NVIDIA's architectures; "" of others.
        has_tensor_cores: or what is like them, with which half precision is several times as fast as float32.
        is_consumer: a card for desktops, which clocks higher than its datasheet says as long as it is cool.
        measured: the dtypes whose arithmetic was measured, and "bandwidth": they hold without a further efficiency.
        host: seconds of the host for a small op as a share of those that are usual.
        standing: see `archprof.facts.predicted.Standing`.
    """

    name: str
    maker: Maker
    peaks: Mapping[str, float]
    bandwidth: float
    l2: float
    sm: int
    is_cpu: bool
    clock: float | None
    watts: float | None
    generation: str
    has_tensor_cores: bool
    is_consumer: bool
    measured: frozenset[str]
    host: float
    standing: Standing

    def peak(self, dtype: str) -> float:
        """FLOP/s in a dtype; that of float32 where it has no arithmetic of its own, or libraries do not use it."""
        if dtype in ("float16", "bfloat16") and not self.has_tensor_cores:
            return self.peaks["float32"]
        own = self.peaks.get(dtype, 0.0)
        return own if dtype == "float64" and own else max(own, self.peaks["float32"])


def find_rates(device: Device) -> Rates:
    """The rates of a device; what a calibration does not say comes of the catalogue.

    Raises:
        UsageError: neither says its arithmetic in float32 and its bandwidth.
    """
    known = devices.find_device(device.name) or device
    figures = {**known.figures, **device.figures}
    values = {name: figure.value for name, figure in figures.items()}
    if "fp32" not in values or "mem_bw" not in values:
        raise UsageError(
            f"No time can be predicted on {device.name}: its arithmetic or its bandwidth is not known.",
            "Measure them there: archprof calibrate -o device.json, and name that file as the device.",
        )
    generation = _find_generation(device)
    measured = {dtype for dtype, figure in devices.PEAK_FIGURES.items() if _is_measured(device, figure)}
    if _is_measured(device, "mem_bw"):
        measured.add("bandwidth")
    return Rates(
        name=device.name,
        maker=_find_maker(device),
        peaks={
            dtype: values[figure] for dtype, figure in devices.PEAK_FIGURES.items() if figure in values
        },
        bandwidth=values["mem_bw"],
        l2=values.get("l2_mb", TYPICAL_L2_BYTES),
        sm=CPU_SM if device.kind == "cpu" else int(values.get("sm", TYPICAL_SM)),
        is_cpu=device.kind == "cpu",
        clock=values.get("boost_mhz"),
        watts=values.get("tdp_w"),
        generation=generation,
        has_tensor_cores=_has_tensor_cores(device, values, generation),
        is_consumer="GeForce" in device.name or "TITAN" in device.name,
        measured=frozenset(measured),
        host=values.get("launch", USUAL_LAUNCH_SECONDS) / USUAL_LAUNCH_SECONDS,
        standing=_find_standing(known, calibrated="bandwidth" in measured),
    )  # fmt: skip


def _find_generation(device: Device) -> str:
    if _find_maker(device) != "nvidia":
        return ""
    return next((name for name, words in GENERATIONS.items() if re.search(words, device.name)), "")


def _has_tensor_cores(device: Device, values: Mapping[str, float], generation: str) -> bool:
    """Some cards without them have twice the rate in half precision; libraries do not use it for products."""
    twice = values.get("fp16_dense", 0.0) > 1.5 * values["fp32"]
    return twice and generation != "pascal" and "GTX" not in device.name


def _is_measured(device: Device, figure: str) -> bool:
    return figure in device.figures and device.figures[figure].status == "measured"


def _find_maker(device: Device) -> Maker:
    first = device.name.split()[0].casefold()
    makers: tuple[Maker, ...] = ("nvidia", "amd", "intel", "apple")
    if device.kind == "cpu":
        return "other"
    return next((maker for maker in makers if first == maker), "nvidia" if device.kind in ("gpu", "cuda") else "other")


@cache
def _seen_devices() -> frozenset[str]:
    return frozenset(load_constants()["seen_devices"])


def _find_standing(device: Device, *, calibrated: bool) -> Standing:
    if calibrated:
        return "calibrated"
    if device.name in _seen_devices():
        return "seen"
    return "unseen" if _find_maker(device) == "nvidia" else "bound"
