"""Is the GPU measured right? Six checks on four models, in under ten minutes.

    PYTHONPATH=. python tests/gpu/validate.py [--save reports] [--seconds 6]

Prints a table of target against reached, and writes the profiles it measured: to a temporary folder, or with --save to
that folder, together with those of alexnet, vgg16, resnet50 and vit_b_16 at batch 1 and 64 in float32 and bfloat16.
Every measurement has a process of its own, since a profiler session slows the process down that it ran in.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import archprof
from archprof.cli.calibrate import make_slug
from archprof.errors import ArchprofError
from archprof.facts.measured import Latency, Timing
from archprof.facts.overlays import Outside
from archprof.facts.records import Profile
from archprof.measuring.cuda import CudaDevice, require_cuda

MODELS = ("resnet50", "vgg16", "vit_b_16", "mobilenet_v3_large")
SAVED = ("alexnet", "vgg16", "resnet50", "vit_b_16")
BATCHES = (1, 64)
DTYPES = ("float32", "bfloat16")

LONG, LONGER = 20e-6, 50e-6
"""Seconds of a layer on which methods, and processes, are compared: shorter ones show the resolution of events."""

SLEEPS = tuple(round(10 ** (4 + step / 3)) for step in range(10))
"""Clock cycles of the layers with a known answer: over three decades, 5 us to 5 ms at 2 GHz."""

REFERENCE = 400_000_000
"""Cycles of one sleep that is long enough to tell the length of a cycle by itself: 0.2 s at 2 GHz."""


class Check(NamedTuple):
    """One line of the table; `reached` and `target` are in the same unit, and smaller is better."""

    what: str
    subject: str
    target: float | None
    reached: float
    unit: str
    more: str = ""

    @property
    def ok(self) -> bool:
        return self.target is None or self.reached <= self.target


# What one process measures.


class Sleep(nn.Module):
    """A layer that keeps the GPU busy for a number of cycles, and adds one."""

    def __init__(self, cycles: int) -> None:
        super().__init__()
        self.cycles = cycles

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_cuda:
            torch.cuda._sleep(self.cycles)
        return x + 1


def known_answer(seconds: float) -> dict[str, float]:
    """The length of a cycle by layers of known length, against that of one long sleep before and after."""
    before = cycle_seconds()
    profile = archprof.measure(nn.Sequential(*map(Sleep, SLEEPS)), torch.zeros(4), device="cuda", seconds=seconds)
    reference = (before + cycle_seconds()) / 2
    found = {}
    for method in ("gpu", "kernel", "eager"):
        latency = by_method(profile, method)
        times = [row.p50 for row in latency.layers if row.key]
        found[f"{method} slope"], found[f"{method} intercept"] = line(SLEEPS, times)
    return {"reference": reference, **found}


def cycle_seconds() -> float:
    """From an event pair around one long sleep."""
    clock = CudaDevice().clock()
    start = clock.mark()
    torch.cuda._sleep(REFERENCE)
    end = clock.mark()
    clock.settle()
    return clock.seconds(start, end) / REFERENCE


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the line with the least squares of relative errors: each decade counts alike."""
    weights = [1 / value**2 for value in y]
    total = sum(weights)
    mean_x = sum(w * a for w, a in zip(weights, x, strict=True)) / total
    mean_y = sum(w * b for w, b in zip(weights, y, strict=True)) / total
    slope = sum(w * (a - mean_x) * (b - mean_y) for w, a, b in zip(weights, x, y, strict=True))
    slope /= sum(w * (a - mean_x) ** 2 for w, a in zip(weights, x, strict=True))
    return slope, mean_y - slope * mean_x


def parents(name: str, batch: int) -> dict[str, float]:
    """Seconds of each direct child of a model, by a pair of events around it alone, in a graph made here by hand."""
    device, pairs = torch.device("cuda"), list[tuple[str, Any, Any]]()
    model = archprof_model(name).to(device).eval()
    x = torch.randn(batch, 3, 224, 224, device=device)

    def event() -> Any:
        return torch.cuda.Event(enable_timing=True, external=True)

    def around(path: str, module: nn.Module) -> None:
        start, end = event(), event()
        module.register_forward_pre_hook(lambda *_: start.record())
        module.register_forward_hook(lambda *_: end.record())
        pairs.append((path, start, end))

    for path, module in model.named_children():
        around(path, module)
    with torch.no_grad():
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                model(x)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            model(x)
    samples: dict[str, list[float]] = {path: [] for path, _, _ in pairs}
    for _ in range(60):
        graph.replay()
        torch.cuda.synchronize()
        for path, start, end in pairs:
            if any(True for _ in model.get_submodule(path).parameters()):
                samples[path].append(start.elapsed_time(end) / 1000)
    return {path: statistics.median(found[10:]) for path, found in samples.items() if found}


def archprof_model(name: str) -> nn.Module:
    """The module that archprof measures under this name, with random weights."""
    from archprof.sources.resolve import resolve

    target = resolve(name)
    assert target.rebuild is not None
    return target.rebuild()


def measure(model: str, batch: int, dtype: str, seconds: float, path: Path) -> None:
    archprof.measure(model, device="cuda", batch=batch, dtype=dtype, seconds=seconds).save(path)


# What the first process does with it.


class Runs:
    """Starts the processes, and tells how far they are."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds, self.start = folder, seconds, time.perf_counter()

    def profile(self, model: str, batch: int, dtype: str, path: Path) -> Profile:
        self._run("measure", model, str(batch), dtype, str(path))
        return archprof.load(path)

    def numbers(self, *arguments: str) -> dict[str, float]:
        path = self.folder / "numbers.json"
        self._run(*arguments, str(path))
        found: dict[str, float] = json.loads(path.read_text())
        return found

    def _run(self, *arguments: str) -> None:
        sys.stderr.write(f"{time.perf_counter() - self.start:5.0f} s  {' '.join(arguments[:-1])}\n")
        command = [sys.executable, __file__, "--seconds", str(self.seconds), "--one", *arguments]
        subprocess.run(command, check=True)


def checks(runs: Runs, device: str) -> Iterator[Check]:
    """All six, in the order of the table."""
    yield from sleeping(runs.numbers("sleep"))
    for model in MODELS:
        for batch in BATCHES:
            name = f"{model} b{batch}"
            first = runs.profile(model, batch, "float32", runs.folder / f"{model}-b{batch}-float32-{device}.json")
            second = runs.profile(model, batch, "float32", runs.folder / f"again-{model}-b{batch}.json")
            yield closure(name, first)
            yield nesting(name, first, runs.numbers("parents", model, str(batch)))
            yield from methods(name, first)
            yield repeated(name, first, second)
            yield from overhead(name, first)


def sleeping(found: dict[str, float]) -> Iterator[Check]:
    for method in ("gpu", "kernel", "eager"):
        error = abs(found[f"{method} slope"] / found["reference"] - 1)
        more = f"intercept {1e6 * found[f'{method} intercept']:.1f} us"
        yield Check("known-answer slope", f"sleep, {method}", 0.02 if method != "eager" else None, error, "%", more)


def by_method(profile: Profile, method: str) -> Latency:
    assert profile.measurement is not None
    found = [latency for latency in profile.measurement.latencies if latency.method == method]
    if not found:
        raise SystemExit(f"{profile.model}: nothing was measured by {method}. {profile.measurement.notes}")
    return found[0]


def closure(name: str, profile: Profile) -> Check:
    """The sum of the rows against the whole; also without the subtraction of what marks cost."""
    latency = by_method(profile, "gpu")
    whole = latency.whole.p50
    total = whole - unattributed(latency).p50
    marks = 2 * len(latency.layers)
    raw = (total + marks * (latency.overhead or 0.0)) / whole - 1
    note = "; ".join(note for note in latency.notes if "queue" in note or "launch" in note)
    return Check(
        "closure", name, 0.03, abs(total / whole - 1), "%", f"{100 * raw:+.1f} % with marks; {note}".rstrip("; ")
    )


def unattributed(latency: Latency) -> Timing:
    return next(row for row in latency.rest if row.key is Outside.UNATTRIBUTED)


def nesting(name: str, profile: Profile, around: dict[str, float]) -> Check:
    """No child of the model takes longer in the sum of its rows than between two events around it."""
    latency = by_method(profile, "gpu")
    paths = {index: profile.modules[call.module].path for index, call in enumerate(profile.calls)}
    worst, where = -math.inf, ""
    for path, seconds in around.items():
        inside = sum(row.p50 for row in latency.layers if f"{paths[row.key]}.".startswith(f"{path}."))
        if seconds >= LONGER and inside / seconds - 1 > worst:
            worst, where = inside / seconds - 1, path
    return Check("nesting: rows over parent", name, 0.03, worst, "%", where)


def methods(name: str, profile: Profile) -> Iterator[Check]:
    """kernel <= gpu <= eager, and the first two near one another."""
    gpu, kernel, eager = (
        {row.key: row.p50 for row in by_method(profile, method).layers} for method in ("gpu", "kernel", "eager")
    )
    long = [row for row, seconds in gpu.items() if seconds >= LONG and row in kernel]
    if long:
        apart = [abs(gpu[row] - kernel[row]) / gpu[row] for row in long]
        yield Check("gpu against kernel, median", name, 0.05, statistics.median(apart), "%", f"{len(long)} layers")
    wrong = sum(kernel[row] > 1.03 * gpu[row] or gpu[row] > 1.03 * eager[row] for row in long)
    yield Check("kernel <= gpu <= eager, not so", name, None, wrong, "layers", f"of {len(long)}, beyond 3 %")


def repeated(name: str, first: Profile, second: Profile) -> Check:
    """The same layers in two processes."""
    one, other = ({row.key: row.p50 for row in by_method(profile, "gpu").layers} for profile in (first, second))
    apart = sorted(abs(one[row] - other[row]) / one[row] for row in one if one[row] >= LONGER and row in other)
    if not apart:
        return Check("two processes, median", name, 0.03, 0.0, "%", "no layer is long enough")
    return Check("two processes, median", name, 0.03, statistics.median(apart), "%", f"worst {100 * apart[-1]:.1f} %")


def overhead(name: str, profile: Profile) -> Iterator[Check]:
    """What archprof's own marks cost, and how much of the pass that is."""
    for method, target in (("gpu", 3e-6), ("eager", None)):
        latency = by_method(profile, method)
        each = latency.overhead or 0.0
        share = 2 * len(latency.layers) * each / latency.whole.p50
        yield Check(f"one mark, {method}", name, target, each, "us", f"{100 * share:.1f} % of the pass")


def table(found: Sequence[Check]) -> str:
    """Target against reached."""
    scale = {"%": 100.0, "us": 1e6, "layers": 1.0}
    lines = [f"{'check':<30} {'subject':<24} {'target':>9} {'reached':>9}  "]
    for check in found:
        target = "" if check.target is None else f"{check.target * scale[check.unit]:.1f} {check.unit}"
        reached = f"{check.reached * scale[check.unit]:.1f} {check.unit}"
        verdict = "" if check.target is None else "ok" if check.ok else "NOT REACHED"
        lines.append(
            f"{check.what:<30} {check.subject:<24} {target:>9} {reached:>9}  {verdict:<11} {check.more}".rstrip()
        )
    return "\n".join(lines) + "\n"


def save(runs: Runs, folder: Path, device: str) -> None:
    """The profiles to keep; those of the checks are there already."""
    for model in SAVED:
        for dtype in DTYPES:
            for batch in BATCHES:
                path = folder / f"{model}-b{batch}-{dtype}-{device}.json"
                if not path.exists():
                    runs.profile(model, batch, dtype, path)


def work(arguments: Sequence[str], seconds: float) -> None:
    """The work of one process."""
    what, *rest, path = arguments
    if what == "measure":
        measure(rest[0], int(rest[1]), rest[2], seconds, Path(path))
    else:
        found = known_answer(seconds) if what == "sleep" else parents(rest[0], int(rest[1]))
        Path(path).write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the profiles here, and measure those to keep")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the rounds of one measurement")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return work(given.one, given.seconds)
    try:
        require_cuda()
    except ArchprofError as error:
        sys.exit(str(error))
    device = make_slug(CudaDevice().name).removeprefix("nvidia-")
    with tempfile.TemporaryDirectory() as temporary:
        runs = Runs(Path(temporary), given.seconds)
        found = list(checks(runs, device))
        text = table(found)
        sys.stdout.write(text)
        if given.save is not None:
            keep(runs.folder, given.save, device, text)
            save(runs, given.save, device)
    sys.exit(not all(check.ok for check in found))


def keep(temporary: Path, folder: Path, device: str, text: str) -> None:
    """Move what belongs to the profiles that are kept, and write the table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"validation-{device}.txt").write_text(text)
    for path in temporary.glob(f"*-{device}.json"):
        if path.name.split("-")[0] in SAVED:
            (folder / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
