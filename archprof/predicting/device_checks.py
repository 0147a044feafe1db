"""How sure the figures of a device are: what follows from its parts, and what nobody has checked."""

from __future__ import annotations

from typing import Literal

from archprof.predicting.devices import Device, Figure

Standing = Literal["checked", "seen", "derived", "measured", "unverified"]
"""Read in its source, and what the device's parts give; read alone; worked out from parts; measured; none of these."""

MAX_DIFFERENCE = 0.03
"""Datasheets round: 2.0 TB/s are 2.04, and 66.9 TFLOP/s are at one of several clocks."""

PARTS = {
    "fp32": ("cores", "boost_mhz"),
    "fp16_dense": ("sm", "tensor_per_clock"),
    "bf16_dense": ("sm", "tensor_per_clock"),
    "mem_bw": ("bus_bits", "pin_gbps"),
}
"""What a figure follows from; see `work_out`."""

PEAKS = ("fp32", "tf32_dense", "fp16_dense", "bf16_dense", "fp8_dense", "mem_bw")
"""What a prediction is made from most."""


def work_out(device: Device, figure: str) -> float | None:
    """What a figure is by the parts of the device, in base units; `None` where they are not all known.

    * `fp32`: cores x clock x FLOPs per core and clock (2, unless `fp32_per_clock` says otherwise);
    * `fp16_dense`, `bf16_dense`: SMs x FLOPs per SM and clock x the clock behind the figures of the tensor cores;
    * `mem_bw`: bits of the bus / 8 x bits per second and pin.
    """
    parts = [device.figures.get(part) for part in PARTS.get(figure, ())]
    known = [part.value for part in parts if part is not None]
    if not parts or len(known) < len(parts):
        return None
    if figure == "mem_bw":
        return known[0] / 8 * known[1]
    if figure == "fp32":
        return known[0] * known[1] * _read(device, "fp32_per_clock", 2.0)
    clock = _read(device, "tensor_mhz", _read(device, "boost_mhz", 0.0))
    return known[0] * known[1] * clock or None


def _read(device: Device, figure: str, default: float) -> float:
    found = device.figures.get(figure)
    return default if found is None else found.value


def judge_figure(device: Device, name: str) -> Standing:
    """How sure one figure is; one worked out from parts is no surer than they are."""
    figure = device.figures[name]
    parts = [device.figures[part] for part in PARTS.get(name, ()) if part in device.figures]
    if figure.status == "derived" and any(part.status == "unverified" for part in parts):
        return "unverified"
    if figure.status == "seen" and agrees(figure, work_out(device, name)):
        return "checked"
    return figure.status  # type: ignore[return-value]  # the catalogue's test holds it to the four words


def agrees(figure: Figure, worked_out: float | None) -> bool:
    """Whether the parts of a device give its figure, as far as datasheets round."""
    return worked_out is not None and abs(worked_out - figure.value) <= MAX_DIFFERENCE * figure.value


def list_unverified(device: Device) -> list[str]:
    """The peaks that nobody has checked, by the names of their figures."""
    known = [name for name in PEAKS if name in device.figures]
    return [name for name in known if judge_figure(device, name) == "unverified"]
