"""Whether it fits: the largest batches that ran on a GPU, and the next ones, which did not.

They are of timm's benchmark script, under autocast, with cudnn.benchmark on. A failure may have had another cause, such
as a tensor of more than 2^31 elements. Nothing is fitted on them: the context is that of the package, which comes of
the memory of another GPU.
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
    """What two batches need, and the bytes that are there."""

    what: str
    ran: Estimate
    failed: Estimate
    there: int


@dataclass(frozen=True)
class Caught:
    """How many of the batches that ran were refused, and how many of the next were caught: by the value, by a whole
    interval that lies on one side, and, of the next, how many were not said to fit.
    """

    what: str
    rows: int
    refused: int
    caught: int
    surely_refused: int
    surely_caught: int
    doubted: int

    def __str__(self) -> str:
        counts = (self.refused, self.caught, self.surely_refused, self.surely_caught, self.doubted)
        return f"{self.what:<34} {self.rows:>5}" + "".join(f" {count / self.rows:>11.1%}" for count in counts)


HEAD = f"{'':<34} {'rows':>5}" + "".join(
    f" {word:>11}" for word in ("refused", "caught", "surely ref.", "surely c.", "not 'fits'")
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
    return predict_memory(profile, choose_workspaces("NVIDIA GeForce RTX 3090", benchmark=True)).needed_bytes


def read_brackets(mode: str, every: int) -> list[Bracket]:
    """Those of eager code; compiled code fuses ops, so that its memory is another."""
    rows = [row for row in read_rows("memory_fit_brackets.csv.gz") if row["mode"] == mode and row["compile"] == "eager"]
    rows = [row for row in rows if family(row["model"]) not in CHANGED]
    names = sorted({row["model"] for row in rows})[::every]
    found = []
    for row in rows:
        if row["model"] in names:
            fused = row["torch"] not in WITHOUT_FUSED
            with suppress(ArchprofError):  # timm has it no longer, or cannot build it on meta with fast norms
                needs = [
                    find_need(row["model"], int(row["image"]), row["dtype"], int(row[batch]), mode == "train", fused)
                    for batch in ("batch_that_fits", "batch_that_does_not")
                ]
                what = f"{row['model']} {row['image']}, {row['device']}, {row['torch']}, {row['layout']}"
                found.append(Bracket(what, *needs, int(row["device_mib"]) * MIB))
    return found


def count(what: str, brackets: list[Bracket]) -> Caught:
    return Caught(
        what,
        len(brackets),
        refused=sum(one.ran.value > one.there for one in brackets),
        caught=sum(one.failed.value > one.there for one in brackets),
        surely_refused=sum(one.ran.low > one.there for one in brackets),
        surely_caught=sum(one.failed.low > one.there for one in brackets),
        doubted=sum(one.failed.high is None or one.failed.high > one.there for one in brackets),
    )


def list_needs(mode: str, every: int) -> Iterator[Scored]:
    """What the batches need that ran, and those that failed, against what there is."""
    for one in read_brackets(mode, every):
        yield Scored(f"ran, {mode}", one.what, one.ran.value, one.there)
        yield Scored(f"failed, {mode}", one.what, one.failed.value, one.there)
