"""Whether it fits: the largest batches that ran on a GPU, and the next ones, which did not.

They are of timm's benchmark script, under autocast, with cudnn.benchmark on. It runs one model after another in a
process, and empties the cache between them, so that cuBLAS's workspace is there from the start, in a segment of its
own. A failure may have had another cause, such as a tensor of more than 2^31 elements. Nothing is fitted on them: the
context is that of the package, which comes of the memory of another GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from timm.layers import set_fast_norm, set_fused_attn

import archprof
from archprof.errors import ArchprofError
from archprof.predicting.allocator_blocks import LARGE_SEGMENT
from archprof.predicting.memory import Estimate, predict_memory
from archprof.predicting.workspaces import choose_workspaces
from prediction.halves import family
from prediction.rows import read_rows
from prediction.scored import Scored

MIB = 1 << 20
CHANGED = {"tresnet": "had InPlaceABN, which keeps one tensor where a batch norm and its activation keep two"}
"""Families that timm has changed since they were measured, and how."""

WITHOUT_FUSED = ("pt112", "pt113")
"""The versions of torch with which timm wrote its attention out."""


class Bracket(NamedTuple):
    """What two batches need, and the bytes that are there; no needs: the model could not be built or traced."""

    what: str
    ran: Estimate | None
    failed: Estimate | None
    there: int


@dataclass(frozen=True)
class Caught:
    """How many of the batches that ran were refused, and how many of the next were caught: by the value, by a whole
    interval that lies on one side, and, of the next, how many were not said to fit. Models that are not built any more
    are counted beside.
    """

    what: str
    rows: int
    refused: int
    caught: int
    surely_refused: int
    surely_caught: int
    doubted: int
    not_built: int

    def __str__(self) -> str:
        counts = (self.refused, self.caught, self.surely_refused, self.surely_caught, self.doubted)
        shares = "".join(f" {count / self.rows:>11.1%}" for count in counts)
        return f"{self.what:<34} {self.rows:>5}{shares} {self.not_built:>11}"


HEAD = f"{'':<34} {'rows':>5}" + "".join(
    f" {word:>11}" for word in ("refused", "caught", "surely ref.", "surely c.", "not 'fits'", "not built")
)


@cache
def find_need(model: str, image: int, dtype: str, batch: int, train: bool, fused: bool) -> Estimate:
    """The bytes in which the steps of timm's script go through."""
    set_fused_attn(fused)
    set_fast_norm(not train)  # those of inference are not to be explained without
    amp = dtype.removeprefix("amp ") if dtype.startswith("amp ") else None
    try:
        profile = archprof.profile(
            model, f"3x{image}x{image}", batch=batch, train=train, amp=amp, dtype=None if amp else dtype,
            optimizer="sgd(momentum=0.9, nesterov=True)" if train else None,
        )  # fmt: skip
    finally:
        set_fast_norm(False)
    workspaces = choose_workspaces("NVIDIA GeForce RTX 3090", benchmark=True)._replace(keeps=lambda op: False)
    needed = predict_memory(profile, workspaces).needed_bytes
    earlier = LARGE_SEGMENT * (2 if train else 1)  # a workspace for each thread
    high = None if needed.high is None else needed.high + earlier
    return Estimate(needed.value + earlier, needed.low + earlier, high)


def read_brackets(mode: str, every: int) -> list[Bracket]:
    """Those of eager code; compiled code fuses ops, so that its memory is another."""
    rows = [row for row in read_rows("memory_fit_brackets.csv.gz") if row["mode"] == mode and row["compile"] == "eager"]
    rows = [row for row in rows if family(row["model"]) not in CHANGED]
    names = sorted({row["model"] for row in rows})[::every]
    return [read_bracket(row) for row in rows if row["model"] in names]


def read_bracket(row: dict[str, str]) -> Bracket:
    what = f"{row['model']} {row['image']}, {row['device']}, {row['torch']}, {row['layout']}"
    train, fused = row["mode"] == "train", row["torch"] not in WITHOUT_FUSED
    needs: list[Estimate | None] = [None, None]
    with suppress(ArchprofError):  # timm has it no longer, or cannot build it on meta with fast norms
        needs = [
            find_need(row["model"], int(row["image"]), row["dtype"], int(row[batch]), train, fused)
            for batch in ("batch_that_fits", "batch_that_does_not")
        ]
    return Bracket(what, *needs, int(row["device_mib"]) * MIB)


def count(what: str, brackets: list[Bracket]) -> Caught:
    known = [(one.ran, one.failed, one.there) for one in brackets if one.ran is not None and one.failed is not None]
    return Caught(
        what,
        len(known),
        refused=sum(ran.value > there for ran, _, there in known),
        caught=sum(failed.value > there for _, failed, there in known),
        surely_refused=sum(ran.low > there for ran, _, there in known),
        surely_caught=sum(failed.low > there for _, failed, there in known),
        doubted=sum(failed.high is None or failed.high > there for _, failed, there in known),
        not_built=len(brackets) - len(known),
    )


def list_needs(mode: str, every: int) -> Iterator[Scored]:
    """What the batches need that ran, and those that failed, against what there is; and what could not be built."""
    for one in read_brackets(mode, every):
        if one.ran is None or one.failed is None:
            yield Scored(f"not built, {mode}", one.what, 0, one.there)
            continue
        yield Scored(f"ran, {mode}", one.what, one.ran.value, one.there)
        yield Scored(f"failed, {mode}", one.what, one.failed.value, one.there)
