"""`archprof calibrate`: what this machine's device can do at most."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archprof import files
from archprof.cli import options
from archprof.cli.help import Purpose, Question
from archprof.cli.output import error_boundary, write_text
from archprof.cli.progress import show_waiting
from archprof.units import show_quantity

if TYPE_CHECKING:
    from archprof.measuring.calibrate import Calibration, Rate

CALIBRATIONS_FOLDER = Path("reports/devices")
"""Where calibrations are kept."""


def calibrate(
    cpu: Annotated[bool, typer.Option("--cpu", help="The processor instead of the GPU.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help=f"Left out: {CALIBRATIONS_FOLDER}/NAME.json, named after the device."
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Measure this device's roofs in under a minute: copies, matrix products by dtype, launches, marks."""
    with error_boundary(debug):
        if output is not None:
            files.check_writable(output)
        from archprof.measuring import run
        from archprof.measuring.calibrate import calibrate_device as measure_roofs

        device = run.DEVICE_CLASSES["cpu" if cpu else "cuda"]()
        path = files.check_writable(output or _default_path(device.name))
        with show_waiting("Calibrating"):
            found = measure_roofs(device)
        write_text("".join(f"{line}\n" for line in describe_calibration(found)), None)
        write_text(json.dumps(found.to_json(), indent=2) + "\n", path)


def _default_path(device: str) -> Path:
    CALIBRATIONS_FOLDER.mkdir(parents=True, exist_ok=True)
    return CALIBRATIONS_FOLDER / f"{make_slug(device)}.json"


def make_slug(name: str) -> str:
    """A device's name as a file's: "NVIDIA H200" is "nvidia-h200"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def describe_calibration(found: Calibration) -> Iterator[str]:
    """What was found, for reading; in brackets the least and the greatest round."""
    yield found.name
    yield _line("copy", found.copy_bytes_per_second, "count", "B/s")
    for dtype, rate in found.matmul_flop_per_second.items():
        yield f"{_line(f'{dtype} product', rate, 'count', 'FLOP/s')}  {found.matmul_size[dtype]} wide"
    yield _line("launch", found.launch_seconds, "seconds")
    yield f"  {'mark':<18}{show_quantity(found.mark_seconds, 'seconds'):>16}"


def _line(what: str, rate: Rate, unit: str, per: str = "") -> str:
    middle, low, high = (show_quantity(value, unit) + per for value in (rate.p50, rate.low, rate.high))
    return f"  {what:<18}{middle:>16}  [{low}, {high}]"


QUESTIONS = (Question(calibrate, Purpose.MEASURE, "archprof calibrate -o here.json"),)
