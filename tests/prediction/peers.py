"""Predicted memory beside what torch's own tools say, on the same rows: `python tests/prediction/peers.py [--every N]`.

* FakeTensor: the recipe of torch's documentation, a step on tensors without values under `FakeTensorMode`, with the
  bytes of all storages that are alive counted; so did GPUMemNet's authors.
* MemTracker: `torch.distributed._tools.mem_tracker`, the second step, as its own test uses it.

Both run a step of Adam on tensors of the CPU, and say what is live; the rows are `max_memory_allocated` of PePR.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import set_fused_attn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from tracing.real_storages import StorageCounter

import archprof
from prediction.rows import read_rows

BATCH, STEPS = 32, 2


class Predicted(NamedTuple):
    """Bytes and seconds."""

    nbytes: int
    seconds: float


def make_net(name: str, shape: str) -> tuple[torch.nn.Module, torch.Tensor, torch.optim.Optimizer]:
    """What a row trained: `timm:name(argument=value)` on images of a shape."""
    kind, _, options = name.removeprefix("timm:").rstrip(")").partition("(")
    given = dict(option.split("=") for option in options.split(","))
    with unset_fake_temporarily(), torch.device("meta"):  # timm reads values while it builds
        net = timm.create_model(kind, **{key: int(value) for key, value in given.items()}).train()
    net = net.to_empty(device="cpu")
    images = torch.randn(BATCH, *map(int, shape.split("x")))
    return net, images, torch.optim.Adam(net.parameters(), foreach=True)


def run_steps(net: Any, images: torch.Tensor, optimizer: Any) -> None:
    for _ in range(STEPS):
        net(images).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def ask_fake_tensor(name: str, shape: str) -> int:
    with FakeTensorMode(allow_non_fake_inputs=True):
        run = make_net(name, shape)
        counter = StorageCounter()
        counter.steps.append([])
        for tensor in (*run[0].parameters(), *run[0].buffers(), run[1]):
            counter.add(tensor)
        with counter:
            run_steps(*run)
    return max(counter.steps[0])


def ask_mem_tracker(name: str, shape: str) -> int:
    with FakeTensorMode(allow_non_fake_inputs=True):
        net, images, optimizer = make_net(name, shape)
        tracker: Any = MemTracker()
        tracker.track_external(net, optimizer, images)
        assert isinstance(tracker, TorchDispatchMode)
        with tracker:
            for step in range(STEPS):
                net(images).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
                if step + 1 < STEPS:
                    tracker.reset_mod_stats()
    return max(sizes["Total"] for sizes in tracker.get_tracker_snapshot("peak").values())


def ask_archprof(name: str, shape: str) -> int:
    answer = archprof.predict_memory(name, [shape], batch=BATCH, train=True, optimizer="adam")
    return answer.allocated_peak_bytes.value


TOOLS = {"archprof": ask_archprof, "FakeTensor": ask_fake_tensor, "MemTracker": ask_mem_tracker}


def ask(tool: str, name: str, shape: str) -> Predicted:
    start = time.process_time()
    return Predicted(TOOLS[tool](name, shape), time.process_time() - start)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=6, help="every so many rows of PePR")
    rows = [row for row in read_rows("memory_pepr.csv") if row["quantity"] == "max_allocated"]
    set_fused_attn(False)  # the timm of 2023 writes its attention out
    errors: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    seconds = dict.fromkeys(TOOLS, 0.0)
    print(f"{'':<34}", *(f"{tool:>11}" for tool in TOOLS))
    for row in rows[:: parser.parse_args(words).every]:
        for tool in TOOLS:
            predicted = ask(tool, row["model"], row["input"])
            errors[tool].append(predicted.nbytes / int(row["bytes"]) - 1)
            seconds[tool] += predicted.seconds
        print(f"{row['source_name']:<34}", *(f"{found[-1]:>+11.2%}" for found in errors.values()), flush=True)
    print(f"{'median |error|':<34}", *(f"{statistics.median(map(abs, found)):>11.2%}" for found in errors.values()))
    print(f"{'most |error|':<34}", *(f"{max(map(abs, found)):>11.2%}" for found in errors.values()))
    print(f"{'CPU seconds':<34}", *(f"{total:>11.1f}" for total in seconds.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
