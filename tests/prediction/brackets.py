"""Whether it fits: the largest batches that ran on a GPU, and the next ones, which did not.

They are of timm's benchmark script, under autocast, with cudnn.benchmark on. A failure may have had another cause, such
as a tensor of more than 2^31 elements. The context is fitted on one half of the families and read on the other: the
largest with which at most one in a hundred of the batches that ran is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from timm.layers import set_fast_norm, set_fused_attn

import archprof
from archprof.errors import UnknownName
from archprof.predicting.memory import CONTEXT_BYTES, predict_memory
from archprof.predicting.workspaces import choose_workspaces
from prediction.halves import family, halves
from prediction.rows import read_rows

MIB = 1 << 20
CONTEXTS = tuple(range(300 * MIB, 2_200 * MIB, 50 * MIB))
MOST_REFUSED = 0.01
CHANGED = {"tresnet": "had InPlaceABN, which keeps one tensor where a batch norm and its activation keep two"}
"""Families that timm has changed since they were measured, and how."""

WITHOUT_FUSED = ("pt112", "pt113")
"""The versions of torch with which timm wrote its attention out."""


class Bracket(NamedTuple):
    """Bytes that two batches need, without a context, and what there is."""

    model: str
    ran: int
    failed: int
    there: int


@dataclass(frozen=True)
class Caught:
    """How many of the batches that ran were refused, and how many of the next were caught."""

    what: str
    rows: int
    refused: int
    caught: int

    def __str__(self) -> str:
        refused, caught = self.refused / self.rows, self.caught / self.rows
        return f"{self.what:<34} {self.rows:>5} {refused:>8.1%} {caught:>8.0%}"


@cache
def find_need(model: str, image: int, dtype: str, batch: int, train: bool, fused: bool) -> int:
    """Bytes without a context, in which the steps of timm's script go through."""
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
    found = predict_memory(profile, choose_workspaces("NVIDIA GeForce RTX 3090", benchmark=True))
    return found.needed_bytes.value - CONTEXT_BYTES


def read_brackets(mode: str, every: int) -> list[Bracket]:
    """Those of eager code; compiled code fuses ops, so that its memory is another."""
    rows = [row for row in read_rows("memory_fit_brackets.csv.gz") if row["mode"] == mode and row["compile"] == "eager"]
    rows = [row for row in rows if family(row["model"]) not in CHANGED]
    names = sorted({row["model"] for row in rows})[::every]
    found = []
    for row in rows:
        if row["model"] in names:
            fused = row["torch"] not in WITHOUT_FUSED
            with suppress(UnknownName):  # which timm has no longer
                needs = [
                    find_need(row["model"], int(row["image"]), row["dtype"], int(row[batch]), mode == "train", fused)
                    for batch in ("batch_that_fits", "batch_that_does_not")
                ]
                found.append(Bracket(row["model"], *needs, int(row["device_mib"]) * MIB))
    return found


def count(what: str, brackets: list[Bracket], context: int) -> Caught:
    refused = sum(one.ran + context > one.there for one in brackets)
    return Caught(what, len(brackets), refused, sum(one.failed + context > one.there for one in brackets))


def fit_context(brackets: list[Bracket]) -> int:
    allowed = [one for one in CONTEXTS if count("", brackets, one).refused <= MOST_REFUSED * len(brackets)]
    return max(allowed, default=CONTEXTS[0])


def score_brackets(mode: str, every: int) -> Iterator[Caught]:
    """By a context that is fitted on the other half, and by that of the package."""
    found = read_brackets(mode, every)
    half = halves(one.model for one in found)
    parts = []
    for of in (0, 1):
        own, others = ([one for one in found if half[one.model] == part] for part in (of, 1 - of))
        parts.append(count("", own, fit_context(others)))
    refused, caught = sum(part.refused for part in parts), sum(part.caught for part in parts)
    yield Caught(f"fits, {mode}", len(found), refused, caught)
    yield count(f"fits, {mode}, the package's context", found, CONTEXT_BYTES)
