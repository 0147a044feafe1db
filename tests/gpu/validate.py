"""Is the GPU measured right? Six checks on four models, in under ten minutes.

    PYTHONPATH=. python tests/gpu/validate.py [--save reports] [--seconds 6]

Prints target against reached, each check as soon as it is known, and keeps the profiles it measured: in a temporary
folder, or with --save in that one, those of alexnet, vgg16, resnet50 and vit_b_16 at batch 1 and 64 in float32 and
bfloat16, and the checks as text. What is there when it is stopped is whole; with --resume it is not measured again.
Every measurement has a process of its own, since a profiler session slows the process down that it ran in.
--rehearse runs it without a GPU, on small nets.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parents[1])]

# ruff: noqa: E402  found by the line above
import archprof
from archprof.cli.calibrate import make_slug
from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.measuring import run
from archprof.measuring.cuda import CudaDevice
from archprof.measuring.events import Event
from archprof.sources.resolve import resolve
from gpu import checks
from gpu.checks import Check, NotMeasured
from gpu.rehearsed import rehearse

MODELS = ("resnet50", "vgg16", "vit_b_16", "mobilenet_v3_large")
SAVED = ("alexnet", "vgg16", "resnet50", "vit_b_16")
REHEARSED = ("lenet5",)
BATCHES = (1, 64)
DTYPES = ("float32", "bfloat16")

SLEEPS = tuple(round(10 ** (4 + step / 3)) for step in range(10))
"""Clock cycles of the layers with a known answer: over three decades, 5 us to 5 ms at 2 GHz."""

REFERENCE = 400_000_000
"""Cycles of one sleep that is long enough to tell the length of a cycle by itself: 0.2 s at 2 GHz."""


def open_device() -> CudaDevice:
    """The GPU, or what is played in a rehearsal."""
    device = run.DEVICE_CLASSES["cuda"]()
    assert isinstance(device, CudaDevice)
    return device


class Sleep(nn.Module):
    """A layer that keeps the GPU busy for a number of cycles, and adds one."""

    def __init__(self, cycles: int, device: CudaDevice) -> None:
        super().__init__()
        self.cycles, self.device = cycles, device

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == self.device.kind:
            self.device.gpu.sleep(self.cycles)
        return x + 1


def known_answer(seconds: float) -> dict[str, float]:
    """The length of a cycle by layers of known length, against that of one long sleep before and after."""
    device = open_device()
    before, net = cycle_seconds(device), nn.Sequential(*(Sleep(cycles, device) for cycles in SLEEPS))
    profile = archprof.measure(net, torch.zeros(4), device="cuda", seconds=seconds)
    reference = (before + cycle_seconds(device)) / 2
    found = {}
    for method in ("gpu", "kernel", "eager"):
        latency = checks.by_method(profile, method)
        times = [row.p50 for row in latency.layers if row.key]
        found[f"{method} slope"], found[f"{method} intercept"] = checks.line(SLEEPS, times)
    return {"reference": reference, **found}


def cycle_seconds(device: CudaDevice) -> float:
    """From an event pair around one long sleep."""
    clock = device.clock()
    start = clock.mark()
    device.gpu.sleep(REFERENCE)
    end = clock.mark()
    clock.settle()
    return clock.seconds(start, end) / REFERENCE


def parents(name: str, batch: int, passes: int = 60) -> dict[str, float]:
    """Seconds of each direct child of a model, by a pair of events around it alone, in a graph of its own."""
    device, pairs = open_device(), list[tuple[str, Event, Event]]()
    model, x = prepare_model(name, batch, device.kind)
    for path, module in model.named_children():
        if any(True for _ in module.parameters()):
            pairs.append((path, device.gpu.event(), device.gpu.event()))
            put_around(module, *pairs[-1][1:])
    with torch.no_grad():
        graph = device.gpu.capture(lambda: model(x), device.synchronize)
    samples: dict[str, list[float]] = {path: [] for path, _, _ in pairs}
    for _ in range(passes):
        graph.replay()
        device.synchronize()
        for path, start, end in pairs:
            samples[path].append(start.elapsed_time(end) / 1000)
    return {path: statistics.median(found[passes // 6 :]) for path, found in samples.items()}


def put_around(module: nn.Module, start: Event, end: Event) -> None:
    module.register_forward_pre_hook(lambda *_: start.record())
    module.register_forward_hook(lambda *_: end.record())


def prepare_model(name: str, batch: int, device: str) -> tuple[nn.Module, torch.Tensor]:
    """The module that archprof measures under this name, with random weights, and a batch for it."""
    target = resolve(name)
    assert target.rebuild is not None
    (spec,) = target.args
    return target.rebuild().to(device).eval(), torch.randn(batch, *spec.shape, device=device)


def measure(model: str, batch: int, dtype: str, seconds: float, path: Path) -> None:
    """Save a measurement under this path when it is whole."""
    archprof.measure(model, device="cuda", batch=batch, dtype=dtype, seconds=seconds).save(path)


class Runs:
    """Starts the processes, and tells how far they are.

    Attributes:
        folder: gets the profiles of the models to keep; those of others, and repetitions, go with the run.
        device: as it stands in their names.
        given: seconds of the rounds of one measurement, whether to rehearse, and whether to go on where one stopped.
    """

    def __init__(self, folder: Path, device: str, given: argparse.Namespace) -> None:
        self.folder, self.device, self.given = folder, device, given
        self.start, self._known = time.perf_counter(), dict[tuple[str, int, str, int], Profile]()
        self.kept = REHEARSED if given.rehearse else SAVED

    def profile(self, model: str, batch: int, dtype: str, number: int = 1) -> Profile:
        """One of several measurements of the same, which is made when it is asked for first."""
        what = (model, batch, dtype, number)
        if what not in self._known:
            with tempfile.TemporaryDirectory() as scratch:
                folder = self.folder if model in self.kept and number == 1 else Path(scratch)
                path = folder / f"{model}-b{batch}-{dtype}-{self.device}.json"
                if not (self.given.resume and path.exists()):
                    self._run("measure", model, str(batch), dtype, str(path))
                self._known[what] = archprof.load(path)
        return self._known[what]

    def numbers(self, *arguments: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "numbers.json"
            self._run(*arguments, str(path))
            found: dict[str, float] = json.loads(path.read_text())
        return found

    def _run(self, *arguments: str) -> None:
        sys.stderr.write(f"{time.perf_counter() - self.start:5.0f} s  {' '.join(arguments[:-1])}\n")
        more = ["--rehearse"] * self.given.rehearse
        command = [sys.executable, __file__, "--seconds", str(self.given.seconds), *more, "--one", *arguments]
        subprocess.run(command, check=True)


def check_all(runs: Runs, models: Sequence[str]) -> Iterator[Check]:
    """All six, in the order of the table."""
    yield from attempt("sleep", lambda: checks.sleeping(runs.numbers("sleep")))
    for model in models:
        for batch in BATCHES:
            yield from attempt(f"{model} b{batch}", partial(check_model, runs, model, batch))


def check_model(runs: Runs, model: str, batch: int) -> Iterator[Check]:
    """All but the known answer, of one model."""
    name, first = f"{model} b{batch}", runs.profile(model, batch, "float32")
    yield checks.closure(name, first)
    yield from checks.methods(name, first)
    yield from checks.overhead(name, first)
    yield checks.nesting(name, first, runs.numbers("parents", model, str(batch)))
    yield checks.repeated(name, first, runs.profile(model, batch, "float32", 2))


def attempt(subject: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """What the checks yield until one of their processes fails: the others go on."""
    try:
        yield from check()
    except (subprocess.CalledProcessError, ArchprofError, NotMeasured) as error:
        yield Check("failed", subject, 0, 1, "checks", str(error).splitlines()[0])


def tell(found: Iterator[Check], path: Path) -> bool:
    """Print and keep each check as it comes; whether all targets were reached."""
    ok = True
    with path.open("w", encoding="utf-8") as file:
        for line, reached in chain([(checks.HEAD, True)], ((checks.say_check(check), check.ok) for check in found)):
            ok &= reached
            for stream in (file, sys.stdout):
                stream.write(f"{line}\n")
                stream.flush()
    return ok


def save(runs: Runs) -> None:
    """The profiles to keep; those of the checks are there already."""
    for model in runs.kept:
        for dtype in DTYPES:
            for batch in BATCHES:
                with suppress(subprocess.CalledProcessError):  # it has said why
                    runs.profile(model, batch, dtype)


def work(arguments: Sequence[str], seconds: float) -> None:
    """The work of one process."""
    what, *rest, path = arguments
    if what == "measure":
        measure(rest[0], int(rest[1]), rest[2], seconds, Path(path))
    else:
        found = known_answer(seconds) if what == "sleep" else parents(rest[0], int(rest[1]))
        Path(path).write_text(json.dumps(found))


def validate(folder: Path, given: argparse.Namespace) -> bool:
    """Whether every check reached its target; what was measured and found is in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    device = make_slug(open_device().name).removeprefix("nvidia-")
    runs = Runs(folder, device, given)
    models = REHEARSED if given.rehearse else MODELS
    ok = tell(check_all(runs, models), folder / f"validation-{device}.txt")
    if given.save is not None:
        save(runs)
    return ok


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the profiles here, and measure those to keep")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the rounds of one measurement")
    parser.add_argument("--resume", action="store_true", help="go on with what a run that was stopped kept")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, on small nets")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rehearse:
        rehearse()
    if given.one:
        return work(given.one, given.seconds)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            ok = validate(given.save or Path(temporary), given)
    except ArchprofError as error:
        sys.exit(str(error))
    sys.exit(not ok)


if __name__ == "__main__":
    main()
