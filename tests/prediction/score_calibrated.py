"""Scores a calibrated device: `python tests/prediction/score_calibrated.py [--compiled]` calibrates this processor.

Ten of torchvision's nets are predicted from that alone and then run, one thread, batch 1. All clocks are that of the
process, so that what else runs on the machine counts little. `--compiled` has some of them compiled, too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parents[1]))

import archprof
from archprof.facts.predicted import Seconds
from archprof.measuring import cpu
from archprof.measuring.calibrate import calibrate_device
from archprof.predicting.devices import Device, load_calibration
from archprof.predicting.latency import predict_latency
from prediction.score_latency import correlate_ranks

MODELS = (
    "resnet18", "resnet50", "vgg11", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0",
    "mnasnet1_0", "densenet121", "vit_b_16",
)  # fmt: skip
COMPILED = ("resnet18", "mobilenet_v2", "squeezenet1_1")
ROUNDS, LEAST_ROUND = 7, 0.2
"""How often a net is timed, and for at least how many seconds a round."""


class ProcessClock(cpu.WallClock):
    """Nanoseconds that this process has had the processor, all its threads together."""

    def mark(self) -> int:
        return time.process_time_ns()


class Processor(cpu.CpuDevice):
    """The one torch runs on, by that clock."""

    def clock(self) -> ProcessClock:
        return ProcessClock()


def calibrate() -> Device:
    """This processor, as a user has it from a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cpu.json"
        path.write_text(json.dumps(calibrate_device(Processor(), time.process_time).to_json()), encoding="utf-8")
        return load_calibration(path)


def measure(model: Any, image: torch.Tensor) -> float:
    """Seconds of a pass: the median of the rounds."""
    with torch.inference_mode():
        for _ in range(3):
            model(image)
        found = [_time_round(model, image) for _ in range(ROUNDS)]
    return float(np.median(found))


def _time_round(model: Any, image: torch.Tensor) -> float:
    count, start = 0, time.process_time()
    while count == 0 or time.process_time() - start < LEAST_ROUND:
        model(image)
        count += 1
    return (time.process_time() - start) / count


def score(device: Device, names: Sequence[str], *, compiled: bool) -> Iterator[tuple[str, float, Seconds]]:
    """Of each net: what was measured, and what was predicted."""
    image = torch.randn(1, 3, 224, 224)
    for name in names:
        profile = archprof.profile(f"torchvision:{name}", ["3x224x224"])
        found = predict_latency(profile, device, compiled=compiled)
        model = torchvision.models.get_model(name, weights=None).eval()
        yield name, measure(torch.compile(model) if compiled else model, image), found.whole


def report(scored: Sequence[tuple[str, float, Seconds]]) -> None:
    for name, measured, found in scored:
        held = "inside" if found.low <= measured <= found.high else "outside"
        print(f"{name}: measured {1e3 * measured:.1f} ms, predicted {1e3 * found.p50:.1f} "
              f"[{1e3 * found.low:.1f}, {1e3 * found.high:.1f}] ms, {held}", flush=True)  # fmt: skip
    measured, middle, low, high = np.array([(seconds, *found) for _, seconds, found in scored]).T
    errors, inside = middle / measured - 1.0, np.sum((low <= measured) & (measured <= high))
    print(f"{inside} of {len(measured)} inside; error {100 * np.median(np.abs(errors)):.1f} % at the median, "
          f"bias {100 * np.median(errors):+.1f} %, low below the measured in {np.sum(low <= measured)}, "
          f"rank {correlate_ranks(middle, measured):.3f}")  # fmt: skip


def main(words: Sequence[str]) -> None:
    torch.set_num_threads(1)
    device = calibrate()
    print(f"{device.name}: { ({name: f'{figure.value:.3g}' for name, figure in device.figures.items()}) }", flush=True)
    report(list(score(device, MODELS, compiled=False)))
    if "--compiled" in words:
        report(list(score(device, COMPILED, compiled=True)))


if __name__ == "__main__":
    main(sys.argv[1:])
