"""The catalogue of devices: peak rates, bandwidth and memory, each figure with its source and how sure it is."""

from __future__ import annotations

import json
import math
import re
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.files import read_data_table, read_text
from archprof.predicting import device_names
from archprof.wording import name_few

FIGURE_STATUSES = ("seen", "derived", "measured", "unverified")
"""Read in the source named; worked out from other figures; measured there; not checked yet."""

BASE_UNITS = {"TFLOP/s": 1e12, "TOP/s": 1e12, "GB/s": 1e9, "GB": 1e9, "MB": 1e6, "MHz": 1e6, "Gb/s": 1e9}
"""Base units (FLOP/s, B/s, B, Hz) in one of each; every other unit is one already."""

PEAK_FIGURES = {
    "float64": "fp64", "float32": "fp32", "tf32": "tf32_dense", "float16": "fp16_dense", "bfloat16": "bf16_dense",
    "float8": "fp8_dense",
}  # fmt: skip
"""The figure that is the most a dtype can reach, dense. TF32 is what float32 may become in a tensor core."""

LISTED_HINT = "All of them: archprof devices"
SHOWN_NAMES = 8

LARGEST_FILE_BYTES = 2**20
"""Of a calibration, which has about 2**11."""


class Figure(NamedTuple):
    """One figure in base units. `status`: one of `FIGURE_STATUSES`; `source`: where it was read, or how it was got;
    `note`: what it is of, or worked out from.
    """

    value: float
    status: str
    source: str
    note: str = ""


class Device(NamedTuple):
    """One device. `kind` is "gpu", "apple" or "cpu"; `figures` are by their names in devices.csv."""

    name: str
    kind: str
    pattern: str
    figures: dict[str, Figure]

    def peak(self, dtype: str) -> Figure | None:
        """FLOP/s of the datasheet in that dtype; `None` where it is not known."""
        return self.figures.get(PEAK_FIGURES.get(dtype, ""))

    @property
    def bandwidth(self) -> Figure | None:
        """B/s of the datasheet between the device and its memory."""
        return self.figures.get("mem_bw")


@cache
def load_catalogue() -> tuple[Device, ...]:
    """Every device of devices.csv, in its order."""
    found: dict[str, Device] = {}
    for row in read_data_table("devices.csv"):
        device = found.setdefault(row["device"], Device(row["device"], row["kind"], row["match_regex"], {}))
        value = float(row["value"]) * BASE_UNITS.get(row["unit"], 1.0)
        device.figures[row["figure"]] = Figure(value, row["status"], row["source"], row["note"])
    return tuple(found.values())


@lru_cache(256)
def find_device(name: str) -> Device | None:
    """The device that calls itself so ("NVIDIA H200", "Tesla T4"); the longest match, `None` where nothing matches."""
    matches = [(re.search(device.pattern, name, re.IGNORECASE), device) for device in load_catalogue()]
    fitting = [(len(match[0]), device) for match, device in matches if match]
    return max(fitting, key=lambda found: found[0])[1] if fitting else None


def resolve_device(name: str) -> Device:
    """The device that a user means: a file of `archprof calibrate`, a name in the catalogue, or what it calls itself.

    Raises:
        UsageError: for a device that is not in the catalogue, or words that name several.
        ArchprofError: for a file that is no calibration.
    """
    if not isinstance(name, str):
        raise UsageError(f"A device cannot be {name!r}.", "It is a name: h100, 4090, a100-40.")
    if name.endswith(".json"):
        return load_calibration(Path(name))
    found = find_devices_called(name)
    if len(found) > 1:
        names = name_few([device.name for device in found], SHOWN_NAMES)
        raise UsageError(f"{name!r} names {len(found)} devices.", f"Say which: {names}.")
    return found[0]


def find_devices_called(name: str) -> list[Device]:
    """The devices that may be meant by a name; several where it does not say which.

    Raises:
        UnknownName: no device of the catalogue is called so.
    """
    known = {device.name.casefold(): device for device in load_catalogue()}
    device = known.get(name.casefold()) or find_device(name)
    if device is not None:
        return [device]
    by_name = {device.name: device for device in load_catalogue()}
    holding = device_names.find_by_words(name, [*by_name])
    if not holding:
        near = device_names.list_near_names(name, by_name)
        raise UnknownName("device in the catalogue", name, by_name, LISTED_HINT, near)
    plain = device_names.choose_plain(holding)
    return [by_name[name] for name in (plain if len(plain) == 1 else holding)]


def match_devices(pattern: str) -> list[Device]:
    """The devices whose name contains `pattern` or its words, or matches it, if it has a `*`; capitals or not."""
    wanted = pattern.casefold() if "*" in pattern else f"*{pattern.casefold()}*"
    holding = [] if "*" in pattern else device_names.find_by_words(pattern, [one.name for one in load_catalogue()])
    return [one for one in load_catalogue() if one.name in holding or fnmatchcase(one.name.casefold(), wanted)]


def load_calibration(path: Path) -> Device:
    """The device that a file of `archprof calibrate` is about, with what was measured on it.

    Raises:
        ArchprofError: no such file, or no calibration.
    """
    try:
        found = json.loads(read_text(path, LARGEST_FILE_BYTES))
        rates = {
            PEAK_FIGURES[dtype]: rate["p50"]
            for dtype, rate in found["matmul_flop_per_second"].items()
            if dtype in PEAK_FIGURES
        }
        rates["mem_bw"] = found["copy_bytes_per_second"]["p50"]
        if "launch_seconds" in found:
            rates["launch"] = found["launch_seconds"]["p50"]
        if strange := {figure: rate for figure, rate in rates.items() if not 0 < float(rate) < math.inf}:
            raise ValueError(f"rates that nothing has: {strange}")
        if type(found["device"]) is not str:
            raise TypeError(f"a device cannot be {found['device']!r}")
        figures = {figure: Figure(float(rate), "measured", str(path)) for figure, rate in rates.items()}
        return Device(found["name"], found["device"], re.escape(found["name"]), figures)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ArchprofError(
            f"{path} is no calibration of a device: {error!r}.", "One is made by: archprof calibrate"
        ) from error
