"""What a probed step costs against a plain one: time, and the most memory that is in use at once.

    python tests/benchmarks/probed_step.py [--model resnet50] [--batch 8] [--rounds 3] [--threads 1] [--cuda]

A step is forward, cross entropy and backward in training mode. Each kind runs in turn, in rounds; the figure is the
median of the ratios. Memory is what a first step adds at most to a process of its own: what torch's allocator gave out
on a GPU, what the system counts as resident on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from archprof.probing.data.batches import Batch
from archprof.probing.run import ProbedStep
from archprof.sources.resolve import resolve


def make_plain(model: nn.Module, batch: Batch) -> Callable[[], object]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(*batch.args), batch.labels).backward()

    return step


def make_probed(model: nn.Module, batch: Batch) -> Callable[[], object]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        ProbedStep(model, [batch]).run()

    return step


def take_seconds(step: Callable[[], object], cuda: bool) -> float:
    start = time.perf_counter() if cuda else time.process_time()
    step()
    if cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() if cuda else time.process_time()) - start


def peak_bytes(step: Callable[[], object], cuda: bool) -> int:
    """The most bytes that a first step has at once above what was there before."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far: man 5 proc
    before = read_status("VmRSS")
    step()
    return read_status("VmHWM") - before


def read_status(name: str) -> int:
    """Bytes under a name in /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def ask_peak(kind: str) -> int:
    """The same, in a process of its own, for a process does not forget its peak."""
    command = [sys.executable, *sys.argv, "--peak", kind]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("--model", default="resnet50")
    asked.add_argument("--batch", type=int, default=8)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--cuda", action="store_true")
    asked.add_argument("--peak", choices=("plain", "probed"), help=argparse.SUPPRESS)
    words = asked.parse_args()
    torch.set_num_threads(words.threads)
    target = resolve(words.model)
    assert target.rebuild is not None
    device = "cuda" if words.cuda else "cpu"
    model = target.rebuild().train().to(device)
    shape = target.args[0].full_shape(words.batch)
    batch = Batch((torch.randn(shape, device=device),), labels=torch.arange(words.batch, device=device) % 10)
    steps = {"plain": make_plain(model, batch), "probed": make_probed(model, batch)}
    if words.peak:
        print(peak_bytes(steps[words.peak], words.cuda))
        return
    for step in steps.values():
        step()
    seconds = [{kind: take_seconds(step, words.cuda) for kind, step in steps.items()} for _ in range(words.rounds)]
    memory = {kind: ask_peak(kind) for kind in steps}
    for kind in steps:
        median = statistics.median(each[kind] for each in seconds)
        print(f"{kind:<8}{median:8.2f} s{memory[kind] / 2**20:10.1f} MiB")
    ratio = statistics.median(each["probed"] / each["plain"] for each in seconds)
    print(
        f"ratio   {ratio:8.2f}{memory['probed'] / memory['plain']:12.3f}   {words.model}, batch {words.batch}, {device}"
    )


if __name__ == "__main__":
    main()
