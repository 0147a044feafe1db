"""Makes kineto-cpu-train.json: one training step of a small model under torch's profiler, on the CPU.

    python tests/capture/measure/record_trace.py tests/data/kineto-cpu-train.json

The model holds the traps of leading a backward op back to its layer. What differs from machine to machine is left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity

import archprof
from archprof.facts.overlays import Outside
from archprof.measuring.boundaries import ModuleMarking
from archprof.measuring.profiled.profiler import record_trace
from archprof.measuring.protocols import RowKey

KEPT = ("External id", "Sequence number", "Fwd thread id")


class Trailing(nn.Module):
    """Ends with an op that makes no autograd node: it has the sequence number of the next layer's first op."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x).sigmoid()
        torch.argmax(y)
        return y


class Model(nn.Module):
    """A layer called twice, a residual sum of the model's own, and a tail without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Trailing()
        self.twice = nn.Linear(6, 6)
        self.act = nn.Tanh()
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.twice(self.first(x))
        z: torch.Tensor = self.last(self.act(self.twice(y)) + y)
        return z


class Step:
    """A training step, as a `Subject` runs it."""

    train, compiled = True, False

    def __init__(self) -> None:
        self.model, self.x = Model(), torch.randn(5, 6)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)

    def run_pass(self, begins: Any = lambda stage, loss: None) -> None:
        begins("outside", None)
        self.optimizer.zero_grad(set_to_none=True)
        begins("forward", None)
        y = self.model(self.x)
        begins("outside", None)
        loss = y.exp().mean()
        begins("backward", loss)
        loss.backward()
        begins("optimizer", None)
        self.optimizer.step()
        begins("end", None)


def record(passes: int = 2) -> dict[str, Any]:
    """The trace and the rows of its marks."""
    step = Step()
    rows = ModuleMarking(archprof.profile(Model(), torch.zeros(5, 6)))
    step.run_pass()
    text, owners = record_trace(step, rows, lambda: None, passes, [ProfilerActivity.CPU])  # type: ignore[arg-type]
    return {
        "torch": torch.__version__,
        "rows": [row.value if isinstance(row, Outside) else row for row in owners],
        "traceEvents": stripped(json.loads(text)["traceEvents"]),
    }


def stripped(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the reader reads, in microseconds since the first event, with threads numbered from 1."""
    kept = [event for event in events if event.get("cat") in ("cpu_op", "user_annotation", "fwdbwd")]
    start = min(event["ts"] for event in kept)
    threads = {thread: number for number, thread in enumerate(dict.fromkeys(event["tid"] for event in kept), start=1)}
    for event in kept:
        event.update(pid=1, tid=threads[event["tid"]], ts=round(event["ts"] - start, 3))
        if "args" in event:
            event["args"] = {key: value for key, value in event["args"].items() if key in KEPT}
    return kept


def load(path: Path) -> tuple[str, list[RowKey | None]]:
    """The text of a recorded trace, and the rows of its marks."""
    text = path.read_text()
    return text, read_rows(json.loads(text))


def read_rows(trace: dict[str, Any]) -> list[RowKey | None]:
    """The row of each mark; a text is the value of an `Outside`."""
    return [Outside(row) if isinstance(row, str) else row and (row[0], row[1]) for row in trace["rows"]]


if __name__ == "__main__":
    lines = json.dumps(record()).replace('{"ph"', '\n{"ph"')
    Path(sys.argv[1]).write_text(lines + "\n")
