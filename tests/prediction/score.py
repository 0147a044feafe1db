"""Scores predicted memory on public measurements: `python tests/prediction/score.py [--quick] [--write]`.

The models are split by family into two halves. What is fitted (the workspace of a convolution's backward, the context
of a device) is fitted on one half and read on the other, both ways; the errors of the halves that were not fitted on
are put together. Nothing is fitted to a row. What is written are the rows by the figures of the package.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from timm.layers import set_fused_attn

sys.path.insert(0, str(Path(__file__).parents[1]))

import archprof
from archprof.facts.records import Op, Profile
from archprof.predicting.memory import CONTEXT_BYTES, predict_memory
from archprof.predicting.workspaces import CONVOLUTION_BACKWARD_BYTES, choose_workspaces
from prediction.brackets import HEAD, count, list_needs, read_brackets
from prediction.halves import halves
from prediction.language_models import score_llama2, score_recorded
from prediction.rows import read_rows
from prediction.scored import Scored, summarise, write_scored

GRID = (90_000_000, 100_000_000, 115_000_000, 130_000_000)
"""What the workspace of a convolution's backward is chosen from."""

CONTEXTS = tuple(range(1_400 << 20, 2_200 << 20, 50 << 20))


BRACKET_EVERY = {"train": 3, "infer": 6}
"""Every so many models for whether batches fit."""


class Replayed(NamedTuple):
    """What was predicted of a row, before a context is added: bytes."""

    allocated: int
    reserved: int


@dataclass(frozen=True)
class Errors:
    """Relative errors: predicted / measured - 1."""

    what: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return summarise(self.values)[0]

    @property
    def p90(self) -> float:
        return summarise(self.values)[1]

    @property
    def under(self) -> float:
        """The share of rows that were predicted by more than 2 % too low."""
        return summarise(self.values)[2]

    def __str__(self) -> str:
        return f"{self.what:<34} {len(self.values):>5} {self.median:>8.2%} {self.p90:>8.2%} {self.under:>12.0%}"


def workspace_of(nbytes: int) -> Callable[[Op], tuple[int, ...]]:
    """The rule of the package with another figure for the backward of a convolution."""
    usual = choose_workspaces(None).lend

    def lend(op: Op) -> tuple[int, ...]:
        lent = usual(op)
        return (nbytes,) if lent == (CONVOLUTION_BACKWARD_BYTES,) else lent

    return lend


def replay(profile: Profile, nbytes: int) -> Replayed:
    found = predict_memory(profile, choose_workspaces(None)._replace(lend=workspace_of(nbytes)))
    return Replayed(found.allocated_peak_bytes.value, found.reserved_peak_bytes.value)


def read_pepr() -> dict[tuple[str, str], dict[str, int]]:
    """Measured bytes by quantity, of each model and shape."""
    measured: dict[tuple[str, str], dict[str, int]] = {}
    for row in read_rows("memory_pepr.csv"):
        measured.setdefault((row["model"], row["input"]), {})[row["quantity"]] = int(row["bytes"])
    return measured


def trace_pepr(model: str, shape: str) -> Profile:
    set_fused_attn(False)  # the timm of 2023 writes its attention out
    return archprof.profile(model, [shape], batch=32, train=True, optimizer="adam")


def score_pepr(quick: bool = False) -> Iterator[Errors]:
    """Adam, batch 32, float32, 256 x 256, RTX 3090 class; the fit of the workspace is on the other half."""
    measured = read_pepr()
    chosen = sorted(measured)[:: 8 if quick else 1]
    half = halves(model for model, _ in measured)
    found = {}
    for model, shape in chosen:
        profile = trace_pepr(model, shape)
        found[model, shape] = {nbytes: replay(profile, nbytes) for nbytes in (GRID if not quick else GRID[2:3])}

    def errors(of: int, nbytes: int, place: int, quantity: str) -> list[float]:
        return [found[key][nbytes][place] / measured[key][quantity] - 1 for key in chosen if half[key[0]] == of]

    best = {
        of: min(found[chosen[0]], key=lambda nbytes: statistics.mean(map(abs, errors(of, nbytes, 0, "max_allocated"))))
        for of in (0, 1)
    }
    for place, quantity in enumerate(("max_allocated", "reserved_after_epoch_2")):
        yield Errors(quantity, tuple(value for of in (0, 1) for value in errors(of, best[1 - of], place, quantity)))


def list_device_rows(every: int) -> Iterator[tuple[dict[str, str], int]]:
    """The rows of every so many models, and what they reserve."""
    rows = [row for row in read_rows("memory_gpumemnet_timm.csv.gz") if row["flag"] == "ok"]
    names = sorted({row["model"] for row in rows})[::every]
    set_fused_attn(True)
    for row in rows:
        if row["model"] in names:
            optimizer = "sgd(momentum=0.9, nesterov=True)"
            profile = archprof.profile(row["model"], batch=int(row["batch"]), train=True, optimizer=optimizer)
            found = predict_memory(profile, choose_workspaces("NVIDIA A100", benchmark=True))
            yield row, found.reserved_peak_bytes.value


def score_device(every: int) -> Iterator[Errors]:
    """timm's training script, float32, A100; one context for all, that of the other half."""
    half = halves(row["model"] for row in read_rows("memory_gpumemnet_timm.csv.gz") if row["flag"] == "ok")
    gaps = [(half[row["model"]], reserved, int(row["bytes"])) for row, reserved in list_device_rows(every)]
    errors = []
    for of in (0, 1):
        others = [(reserved, measured) for other, reserved, measured in gaps if other != of]
        context = min(CONTEXTS, key=lambda one: statistics.mean(abs((had + one) / was - 1) for had, was in others))
        errors += [(reserved + context) / measured - 1 for own, reserved, measured in gaps if own == of]
    yield Errors("device used", tuple(errors))


def list_scored(every: int) -> Iterator[Scored]:
    """Every row, by the figures of the package."""
    for (model, shape), measured in sorted(read_pepr().items()):
        found = predict_memory(trace_pepr(model, shape), choose_workspaces(None))
        allocated, reserved = found.allocated_peak_bytes.value, found.reserved_peak_bytes.value
        yield Scored("max allocated", f"{model} {shape}", allocated, measured["max_allocated"])
        yield Scored("reserved", f"{model} {shape}", reserved, measured["reserved_after_epoch_2"])
    for row, reserved in list_device_rows(every):
        what = f"{row['model']}, batch {row['batch']}"
        yield Scored("device used", what, reserved + CONTEXT_BYTES, int(row["bytes"]))
    for mode, step in BRACKET_EVERY.items():
        yield from list_needs(mode, step)
    for one in (*score_recorded(), *score_llama2()):
        yield Scored("language model", one.what, one.predicted, one.measured)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="an eighth of the models of PePR, nothing fitted")
    parser.add_argument("--every", type=int, default=3, help="every so many models for the memory of a device")
    parser.add_argument("--write", action="store_true", help="the rows that the guide's table and picture are made of")
    asked = parser.parse_args(words)
    if asked.write:
        write_scored(sorted(list_scored(asked.every)))
        return
    print(f"{'':<34} {'rows':>5} {'median':>8} {'p90':>8} {'under by 2%':>12}")
    for errors in score_pepr(asked.quick):
        print(errors)
    if asked.quick:
        return
    for errors in score_device(asked.every):
        print(errors)
    print(f"\n{HEAD}")
    for mode, every in BRACKET_EVERY.items():
        print(count(f"fits, {mode}", read_brackets(mode, every)))
    print(f"\n{'peak allocated [GB]':<46} {'ours':>8} {'measured':>8} {'error':>7}")
    for compared in (*score_recorded(), *score_llama2()):
        print(compared)


if __name__ == "__main__":
    main(sys.argv[1:])
