"""The catalogue of devices as a table."""

from __future__ import annotations

from collections.abc import Iterable

from archprof.analysis.table import Column, Row, Table
from archprof.predicting.devices import Device

COLUMNS = (
    Column("device", "Device", "path", "its name in the catalogue", 0),
    Column("kind", "Kind", "text", "gpu, apple or cpu", 1),
    Column("memory", "Memory", "bytes", "of the datasheet", 0),
    Column("bandwidth", "Bandwidth", "text", "between the device and its memory, of the datasheet", 1),
    Column("float32", "float32", "text", "the most FLOP/s, dense, of the datasheet", 2),
    Column("bfloat16", "bfloat16", "text", "the same in bfloat16", 2),
)


def tabulate_devices(devices: Iterable[Device]) -> Table:
    """One row a device, in the order of the catalogue; what it does not know is left out."""
    rows = tuple(map(_row, devices))
    notes = ("Every figure has its source in archprof/data/devices.csv.",) if rows else ("No device is called so.",)
    return Table("Devices", COLUMNS, rows, notes=notes)


def _row(device: Device) -> Row:
    memory = device.figures.get("mem_gb")
    size = None if memory is None else int(memory.value / 1e9) << 30
    speed = device.bandwidth and f"{device.bandwidth.value / 1e9:,.0f} GB/s"
    return Row((device.name, device.kind, size, speed, _rate(device, "float32"), _rate(device, "bfloat16")))


def _rate(device: Device, dtype: str) -> str | None:
    peak = device.peak(dtype)
    return None if peak is None else f"{peak.value / 1e12:,.4g} TFLOP/s"
