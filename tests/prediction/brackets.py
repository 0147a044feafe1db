"""Whether it fits: the largest batches that ran on a GPU, and the next ones, which did not.

They are of timm's benchmark script, under autocast, with cudnn.benchmark on. It runs one model after another in a
process, and empties the cache between them, so that cuBLAS's workspace is there from the start, in a segment of its
own. A batch is refused for its memory, or because a kernel does not take its sizes. Nothing is fitted on them: the
contexts are those of the package.
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
from archprof.predicting.memory import CONTEXT_BYTES, LAZY_CONTEXT_BYTES, Estimate, predict_memory
from archprof.predicting.workspaces import choose_workspaces
from prediction.halves import family
from prediction.older_releases import RELEASES, lend_as_measured, refuses
from prediction.rows import read_rows
from prediction.scored import BY_KERNEL, Scored

MIB = 1 << 20
CHANGED = {"tresnet": "had InPlaceABN, which keeps one tensor where a batch norm and its activation keep two"}
"""Families that timm has changed since they were measured, and how."""

RENAMED = {"timm:ig_resnext101_32x32d": "timm:resnext101_32x32d", "timm:ig_resnext101_32x48d": "timm:resnext101_32x48d"}
"""Old names that timm takes for a smaller net."""

WITHOUT_FUSED = ("pt112", "pt113")
"""The versions of torch with which timm wrote its attention out."""

EAGER = ("pt112",)
"""The versions under which CUDA loaded all kernels at once."""

Asked = tuple[str, int, str, int, str, str]
"""Model, image, dtype, batch, version of torch, layout."""


class Need(NamedTuple):
    """What a batch needs, and whether a kernel refuses its sizes."""

    memory: Estimate
    refused: bool

    def breaks(self, there: int) -> bool:
        return self.refused or self.memory.value > there


class Bracket(NamedTuple):
    """What two batches need, and the bytes that are there; no needs: the model could not be built or traced."""

    what: str
    ran: Need | None
    failed: Need | None
    there: int


@dataclass(frozen=True)
class Caught:
    """How many of the batches that ran were refused, and how many of the next were caught: by the value or a kernel, by
    a kernel, by a whole interval that lies on one side or a kernel, and, of the next, how many were not said to fit.
    Models that are not built any more are counted beside.
    """

    what: str
    rows: int
    refused: int
    caught: int
    caught_by_kernel: int
    surely_refused: int
    surely_caught: int
    doubted: int
    not_built: int

    def __str__(self) -> str:
        caught = (self.caught, self.caught_by_kernel)
        counts = (self.refused, *caught, self.surely_refused, self.surely_caught, self.doubted)
        shares = "".join(f" {count / self.rows:>11.1%}" for count in counts)
        return f"{self.what:<34} {self.rows:>5}{shares} {self.not_built:>11}"


HEAD = f"{'':<34} {'rows':>5}" + "".join(
    f" {word:>11}" for word in ("refused", "caught", "by kernel", "surely ref.", "surely c.", "not 'fits'", "not built")
)


@cache
def find_need(asked: Asked, train: bool) -> Need:
    """The bytes in which the steps of timm's script go through."""
    model, image, dtype, batch, torch, layout = asked
    set_fused_attn(torch not in WITHOUT_FUSED)
    set_fast_norm(not train)  # those of inference are not to be explained without
    amp = dtype.removeprefix("amp ") if dtype.startswith("amp ") else None
    try:
        profile = archprof.profile(
            RENAMED.get(model, model), f"3x{image}x{image}", batch=batch, train=train, amp=amp,
            dtype=None if amp else dtype, optimizer="sgd(momentum=0.9, nesterov=True)" if train else None,
        )  # fmt: skip
    finally:
        set_fast_norm(False)
    usual = choose_workspaces("NVIDIA GeForce RTX 3090", benchmark=True)
    lend = lend_as_measured(RELEASES[torch], layout, usual.lend)
    found = predict_memory(profile, usual._replace(lend=lend, keeps=lambda op: False))
    earlier = LARGE_SEGMENT * (2 if train else 1)  # a workspace for each thread
    more = earlier + (CONTEXT_BYTES - LAZY_CONTEXT_BYTES if torch in EAGER else 0)
    value, low, high = found.needed_bytes
    memory = Estimate(value + more, low + earlier, None if high is None else high + earlier)
    return Need(memory, found.refusal is not None or refuses(profile, RELEASES[torch], layout))


def read_brackets(mode: str, every: int) -> list[Bracket]:
    """Those of eager code; compiled code fuses ops, so that its memory is another."""
    rows = [row for row in read_rows("memory_fit_brackets.csv.gz") if row["mode"] == mode and row["compile"] == "eager"]
    rows = [row for row in rows if family(row["model"]) not in CHANGED]
    names = sorted({row["model"] for row in rows})[::every]
    return [read_bracket(row) for row in rows if row["model"] in names]


def read_bracket(row: dict[str, str]) -> Bracket:
    what = f"{row['model']} {row['image']}, {row['device']}, {row['torch']}, {row['layout']}"
    needs: list[Need | None] = [None, None]
    with suppress(ArchprofError):  # timm has it no longer, or cannot build it on meta with fast norms
        needs = [
            find_need(
                (row["model"], int(row["image"]), row["dtype"], int(row[batch]), row["torch"], row["layout"]),
                row["mode"] == "train",
            )
            for batch in ("batch_that_fits", "batch_that_does_not")
        ]
    return Bracket(what, *needs, int(row["device_mib"]) * MIB)


def count(what: str, brackets: list[Bracket]) -> Caught:
    known = [(one.ran, one.failed, one.there) for one in brackets if one.ran is not None and one.failed is not None]
    return Caught(
        what,
        len(known),
        refused=sum(ran.breaks(there) for ran, _, there in known),
        caught=sum(failed.breaks(there) for _, failed, there in known),
        caught_by_kernel=sum(failed.refused for _, failed, _ in known),
        surely_refused=sum(ran.refused or ran.memory.low > there for ran, _, there in known),
        surely_caught=sum(failed.refused or failed.memory.low > there for _, failed, there in known),
        doubted=sum(
            failed.refused or failed.memory.high is None or failed.memory.high > there for _, failed, there in known
        ),
        not_built=len(brackets) - len(known),
    )


def list_needs(mode: str, every: int) -> Iterator[Scored]:
    """What the batches need that ran, and those that failed, against what there is; and what could not be built."""
    for one in read_brackets(mode, every):
        if one.ran is None or one.failed is None:
            yield Scored(f"not built, {mode}", one.what, 0, one.there)
            continue
        for ended, need in (("ran", one.ran), ("failed", one.failed)):
            what = f"{one.what}{BY_KERNEL if need.refused else ''}"
            yield Scored(f"{ended}, {mode}", what, need.memory.value, one.there)
