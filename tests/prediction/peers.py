"""Predicted memory beside what torch's own tools say, on the same rows: `python tests/prediction/peers.py`.

* FakeTensor: the recipe of torch's documentation, a step on tensors without values under `FakeTensorMode`, with the
  bytes of all storages that are alive counted; so did GPUMemNet's authors.
* MemTracker: `torch.distributed._tools.mem_tracker`, the second step, as its own test uses it.

Both run a step of Adam on tensors of the CPU, and say what is live; the rows are `max_memory_allocated` of PePR. Each
answer is written as it comes, and is not asked again; two processes may share the rows: `--every 2 --start 1`.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import set_fused_attn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from tracing.real_storages import StorageCounter

import archprof
from prediction.rows import read_rows
from prediction.scored import summarise

BATCH, STEPS = 32, 2

ROWS = Path(__file__).parent / "data" / "peers.csv"


class Answer(NamedTuple):
    """What a tool says of a row, in bytes, what was measured, and the seconds of the CPU that it took."""

    tool: str
    model: str
    shape: str
    predicted: int
    measured: int
    seconds: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


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
    from torch.distributed._tools.mem_tracker import MemTracker  # which wakes torch's compiler

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


def read_answers() -> list[Answer]:
    if not ROWS.exists():
        return []
    with ROWS.open(newline="") as file:
        return [
            Answer(tool, model, shape, int(predicted), int(measured), float(seconds))
            for tool, model, shape, predicted, measured, seconds in csv.reader(file)
        ]


def ask(tool: str, row: dict[str, str]) -> Answer:
    start = time.process_time()
    predicted = TOOLS[tool](row["model"], row["input"])
    seconds = round(time.process_time() - start, 2)
    return Answer(tool, row["model"], row["input"], predicted, int(row["bytes"]), seconds)


def tabulate(answers: list[Answer]) -> str:
    """The table of the guide."""
    lines = ["| tool | rows | median error | largest | under by 2 % | CPU seconds |", "|---|---|---|---|---|---|"]
    for tool in TOOLS:
        own = [one for one in answers if one.tool == tool]
        median, _, under = summarise([one.error for one in own])
        most, seconds = max(abs(one.error) for one in own), sum(one.seconds for one in own)
        numbers = f"{median * 100:.2f} % | {most * 100:.1f} % | {under * 100:.0f} % | {seconds:.0f}"
        lines.append(f"| {tool} | {len(own)} | {numbers} |")
    return "\n".join(lines) + "\n"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="every so many rows of PePR")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    asked = parser.parse_args(words)
    rows = [row for row in read_rows("memory_pepr.csv") if row["quantity"] == "max_allocated"]
    set_fused_attn(False)  # the timm of 2023 writes its attention out
    known = {one[:3] for one in read_answers()}
    for tool in TOOLS:  # the slowest last
        for row in rows[asked.start :: asked.every]:
            if (tool, row["model"], row["input"]) in known:
                continue
            answer = ask(tool, row)
            with ROWS.open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(answer)
            print(f"{tool:<12} {row['source_name']:<34} {answer.error:>+9.2%} {answer.seconds:>8.1f} s", flush=True)
    print(tabulate(read_answers()))


if __name__ == "__main__":
    main(sys.argv[1:])
