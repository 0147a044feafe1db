"""The catalogue of devices: peak rates, bandwidth and memory, each figure with its source and how sure it is."""

from __future__ import annotations

import csv
import json
import math
import re
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.files import read_text

FIGURE_STATUSES = ("seen", "derived", "measured", "unverified")
"""Read in the source named; worked out from other figures; measured there; not checked yet."""

BASE_UNITS = {"TFLOP/s": 1e12, "TOP/s": 1e12, "GB/s": 1e9, "GB": 1e9, "MB": 1e6, "MHz": 1e6}
"""Base units (FLOP/s, B/s, B, Hz) in one of each; every other unit is one already."""

PEAK_FIGURES = {
    "float64": "fp64", "float32": "fp32", "tf32": "tf32_dense", "float16": "fp16_dense", "bfloat16": "bf16_dense",
}  # fmt: skip
"""The figure that is the most a dtype can reach, dense. TF32 is what float32 may become in a tensor core."""

LARGEST_FILE_BYTES = 2**20
"""Of a calibration, which has about 2**11."""

MODULE = re.compile(r"\bSXM")
"""A name of what sits on the board of a server, where there are cards of the same chip."""


MAX_NEAR = 6
"""How many devices are named that may be meant."""


class Figure(NamedTuple):
    """One figure in base units. `status`: one of `FIGURE_STATUSES`; `source`: where it was read, or how it was got."""

    value: float
    status: str
    source: str


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
    with files("archprof.data").joinpath("devices.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            device = found.setdefault(row["device"], Device(row["device"], row["kind"], row["match_regex"], {}))
            value = float(row["value"]) * BASE_UNITS.get(row["unit"], 1.0)
            device.figures[row["figure"]] = Figure(value, row["status"], row["source"])
    return tuple(found.values())


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
    if name.endswith(".json"):
        return load_calibration(Path(name))
    known = {device.name.casefold(): device for device in load_catalogue()}
    device = known.get(name.casefold()) or find_device(name)
    return device or _find_by_words(name)


def _find_by_words(text: str) -> Device:
    """The only device whose name holds all of these words: "rtx 4090", "a100 sxm4 80gb"."""
    words = _split_words(text)
    holding = [device for device in load_catalogue() if words and words <= _split_words(device.name)]
    found = [device for device in holding if len(words) == len(_split_words(device.name)) - 1] or holding  # "m4", "l4"
    modules = [device for device in found if MODULE.search(device.name)]
    if len(modules) == 1:
        found = modules  # "h100" is that of servers, and no card
    if not found:
        names = [device.name for device in load_catalogue()]
        raise UnknownName("device in the catalogue", text, names, "archprof devices lists them.", _list_near(words))
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} devices.", f"Say which: {', '.join(d.name for d in found)}.")
    return found[0]


def _list_near(words: set[str]) -> list[str]:
    """The devices whose name has, for each of these words, one that is like it: "h10" is like "h100"."""
    known = [(device.name, _split_words(device.name)) for device in load_catalogue()]
    near = [name for name, own in known if words and all(get_close_matches(word, own, cutoff=0.7) for word in words)]
    return near[:MAX_NEAR]


def _split_words(text: str) -> set[str]:
    """The words of a name; "80gb" is "80", too."""
    words = re.findall(r"[a-z0-9]+", text.casefold())
    return {word.removesuffix("gb") if word[0].isdigit() else word for word in words}


def match_devices(pattern: str) -> list[Device]:
    """The devices whose name contains `pattern`, or matches it, if it has a `*`; capitals or not."""
    wanted = pattern.casefold() if "*" in pattern else f"*{pattern.casefold()}*"
    return [device for device in load_catalogue() if fnmatchcase(device.name.casefold(), wanted)]


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
