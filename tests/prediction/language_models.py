"""Peaks of language models on GPUs: a course's model as students ran it, and Llama-2 writing text.

Where a recording starts empty, its peak is the sum of what was asked for: live bytes and workspaces. Where it does not,
what was there at its start is known by blocks, so that it is held against what is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

import archprof
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.memory import predict_memory
from archprof.predicting.workspaces import CUBLAS_BYTES, choose_workspaces
from prediction.nets import LanguageModel, Loss
from prediction.rows import read_rows

SMALL, MEDIUM, XL = (512, 1344, 4, 16), (1024, 4096, 24, 16), (1600, 6400, 48, 25)


class Recorded(NamedTuple):
    """What ran: sizes (width, inner, layers, heads), words, and how far it went in a step."""

    sizes: tuple[int, int, int, int]
    length: int
    batch: int
    goes: str
    twice: bool = False
    last_only: bool = False


RECORDED = {
    "niu_forward_memory_snapshot_100": Recorded(SMALL, 100, 10, "forward", twice=True),
    "niu_forward_and_backward_memory_snapshot_100": Recorded(SMALL, 100, 10, "step", twice=True, last_only=True),
    "wed_medium_128_inference": Recorded(MEDIUM, 128, 4, "inference"),
    "wed_medium_256_training": Recorded(MEDIUM, 256, 4, "step"),
    "yyin_xl_128_forward": Recorded(XL, 128, 4, "forward"),
}
"""How each was run, as its events show: softmax by one power or two, the loss of all words or of the last."""


class Compared(NamedTuple):
    """A row of the print: bytes."""

    what: str
    predicted: int
    measured: int
    source: str

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1

    def __str__(self) -> str:
        sizes = f"{self.predicted / 1e9:>8.3f} {self.measured / 1e9:>8.3f}"
        return f"{self.what:<46} {sizes} {self.error:>+7.2%}  {self.source}"


def trace_recorded(run: Recorded) -> archprof.Profile:
    with torch.device("meta"):
        net = LanguageModel(*run.sizes, run.length, run.twice)
        if run.goes == "step":
            net = Loss(net, run.last_only)
    optimizer = "adamw(foreach=False)" if run.goes == "step" else None
    words = f"int64[{run.batch},{run.length}]<10000"
    return archprof.profile(net, words, train=run.goes != "inference", optimizer=optimizer)


def predict_recorded(run: Recorded, starts_empty: bool) -> int:
    """Bytes at the peak, of the forward alone where it ended there."""
    profile = trace_recorded(run)
    if not starts_empty:
        phases = predict_memory(profile, choose_workspaces(None)).phases
        return max(one.allocated for one in phases if run.goes == "step" or one.phase == "forward")
    step = build_step(profile)
    live = zip(sum_step_bytes(profile, step), step.ops, strict=True)
    most = max(nbytes for nbytes, op in live if run.goes == "step" or profile.ops[op].phase == "forward")
    return most + CUBLAS_BYTES * (2 if run.goes == "step" else 1)


def score_recorded() -> Iterator[Compared]:
    for row in read_rows("memory_snapshots.csv"):
        run = RECORDED.get(row["snapshot"])
        if run is not None:
            predicted = predict_recorded(run, starts_empty=row["reserved_at_start"] == "0")
            yield Compared(row["snapshot"], predicted, int(row["peak_allocated"]), row["repository"])


def score_llama2() -> Iterator[Compared]:
    """The last of so many tokens. The cache was a tuple, the old one of which stays until the new one is whole."""
    for row in read_rows("memory_llama2_a100.csv"):
        if row["quantity"] == "max_allocated":
            context, batch = int(row["prompt"]) + int(row["new_tokens"]) - 1, int(row["batch"])
            profile = archprof.profile(row["model"], phase="decode", context=context, batch=batch, dtype=row["dtype"])
            found = predict_memory(profile, choose_workspaces(row["device"])).allocated_peak_bytes.value
            what = f"{row['model']}, {batch} x {context + 1} tokens"
            yield Compared(what, found, int(row["bytes_rounded_to_1e6"]), row["source"].partition(":")[0])
