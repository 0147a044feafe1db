"""The first minutes on a GPU, in one command: each step has a limit of its own, and none stops the next.

    python tests/gpu/first_gpu.py FOLDER [--harvest harvest.py] [--steps smoke=100,validate=300] [--pack x.tar.gz]

| step | what it does |
|---|---|
| smoke | every CUDA command of the README and the guide, side by side |
| tests | `pytest -m gpu` |
| calibrate | the roofs of the device, alone |
| validate | `validate.py --save FOLDER/reports`, each check as it is known |
| harvest | a script that collects peaks and latencies of many models: `harvest.py FOLDER/harvest 60 150` |

All is under FOLDER as it comes: a log of each step, what it made, and `steps.json` with how it ended. --rehearse runs
all of it on the processor, as far as that goes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from gpu.limited import ROOT, Ended, run_limited, say  # noqa: E402  found by the line above

HARVEST_SECONDS = ("60", "150")
"""Of peaks, and of latencies."""

LIMITS = {"smoke": 110, "tests": 120, "calibrate": 60, "validate": 330, "harvest": 240}
"""Seconds; together under 15 minutes."""

STATE = """
import sys, torch
print("Python", sys.version.split()[0], "torch", torch.__version__, "CUDA", torch.version.cuda)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
for name in ("torchvision", "timm", "transformers", "fvcore", "plotly", "rich", "typer", "pandas", "sklearn"):
    try: print(name, getattr(__import__(name), "__version__", "is there"))
    except Exception as error: print(name, "cannot be imported:", error)
"""


class Step(NamedTuple):
    """A command, and the most seconds that it may take."""

    name: str
    command: list[str]
    seconds: float


def list_steps(folder: Path, given: argparse.Namespace) -> list[Step]:
    """The steps that were asked for, in the order of the table above."""
    limits = parse_limits(given.steps)
    python, rehearse = sys.executable, ["--rehearse"] * given.rehearse
    smoke = [python, str(HERE / "smoke.py"), str(folder / "smoke"), *rehearse]
    smoke += ["--seconds", str(max(10, 0.8 * limits.get("smoke", 0)))]
    program = [str(HERE / "rehearsed.py")] if given.rehearse else ["-m", "archprof"]
    validate = [python, str(HERE / "validate.py"), "--save", str(folder / "reports"), *rehearse]
    if given.quick:
        smoke, validate = [*smoke, "--first", "1"], [*validate, "--seconds", "0.1"]
    commands = {
        "smoke": smoke,
        "tests": [python, "-m", "pytest", "-p", "no:cacheprovider", "-m", "gpu", str(HERE / "test_gpu_measure.py")],
        "calibrate": [python, *program, "calibrate", "-o", str(folder / "calibration.json")],
        "validate": validate,
    }
    if given.harvest is not None:
        commands["harvest"] = [python, str(given.harvest.resolve()), str(folder / "harvest"), *HARVEST_SECONDS]
    return [Step(name, command, limits[name]) for name, command in commands.items() if name in limits]


def parse_limits(text: str | None) -> Mapping[str, float]:
    """Limits by step from "smoke,validate=300"; all steps where nothing is given.

    Raises:
        SystemExit: there is no such step.
    """
    if text is None:
        return LIMITS
    found = {}
    for part in text.split(","):
        name, _, seconds = part.partition("=")
        if name not in LIMITS:
            raise SystemExit(f"There is no step {name!r}. Steps: {', '.join(LIMITS)}.")
        found[name] = float(seconds or LIMITS[name])
    return found


def run_steps(folder: Path, steps: list[Step], pack: Path | None) -> list[Ended]:
    """Run one after the other; after each of them all that is there is written down, and packed."""
    found: list[Ended] = []
    for step in steps:
        say(f"== {step.name}, at most {step.seconds:.0f} s")
        (folder / step.name).mkdir(exist_ok=True)
        log = folder / f"{step.name}.log"
        found.append(run_limited(step.command, step.seconds, log, folder, shown=[step.name], echo=True))
        say(found[-1].describe())
        write_steps(folder / "steps.json", found)
        if pack is not None:
            pack_folder(folder, pack)
    return found


def write_steps(path: Path, found: list[Ended]) -> None:
    rows = [{"step": each.command[0], "exit_code": each.exit_code, "seconds": each.seconds, "late": each.late}
            for each in found]  # fmt: skip
    replace(path, json.dumps(rows, indent=1).encode())


def pack_folder(folder: Path, pack: Path) -> None:
    """All of the folder in one file, which is there whole or not at all."""
    scratch = pack.with_name(f".{pack.name}")
    with tarfile.open(scratch, "w:gz") as packed:
        packed.add(folder, arcname=folder.name)
    os.replace(scratch, pack)


def replace(path: Path, content: bytes) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_bytes(content)
    os.replace(scratch, path)


def parse_words(words: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--harvest", type=Path, metavar="SCRIPT", help="run it with FOLDER/harvest and two times")
    parser.add_argument("--steps", metavar="NAME=SECONDS,…", help=f"left out: {LIMITS}")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="after each step, the folder in one file")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, on small nets")
    parser.add_argument("--quick", action="store_true", help="one command, and a tenth of a second a measurement")
    return parser.parse_args(words)


def main() -> None:
    given = parse_words()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    state = run_limited([sys.executable, "-c", STATE], 60, folder / "state.log", ROOT, shown=["state"], echo=True)
    found = [state, *run_steps(folder, list_steps(folder, given), given.pack)]
    say("\n".join(["", *(each.describe() for each in found)]))
    sys.exit(not all(each.ok for each in found))


if __name__ == "__main__":
    main()
