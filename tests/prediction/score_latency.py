"""Scores predicted latency on public measurements: `python tests/prediction/score_latency.py [--quick] [--write]`.

Each chip is left out in turn, and each quarter of timm's families; the constants are fitted on the rest, and what was
left out is predicted. Beside our errors stand those of the plain roofline and the published ones of NeuSight.

`--write` fits on everything after that and writes archprof/data/latency.json, the widths of intervals with it, and the
table and picture of the guide.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from prediction.latency_batch import Array, Batch
from prediction.latency_fit import ROUNDS, fit, thin, write_constants
from prediction.latency_picture import draw_scatter
from prediction.latency_rows import Row, list_rows
from prediction.latency_spread import find_spread, hold, is_op

ROOT = Path(__file__).parents[2]
SCORES = Path(__file__).parent / "data" / "latency" / "scores.txt"
GUIDE = ROOT / "archprof" / "guide" / "latency.md"
PICTURE = ROOT / "archprof" / "guide" / "latency.svg"

CHIPS = ("P100", "V100", "A100", "1080 Ti", "TITAN Xp", "2080 Ti", "3090")
FOLDS = 4

NEUSIGHT = {
    "NeuSight bmm": "13.8", "NeuSight linear": "13.9", "NeuSight elementwise": "19.3", "NeuSight softmax": "13.9",
    "NeuSight ln": "56.7", "NeuSight models": "9.7",
}  # fmt: skip
"""Mean errors in percent that it publishes: ops on devices out of its distribution; whole models, mostly in it."""


class LeftOut(NamedTuple):
    """What was predicted of rows that the constants were not fitted on.

    Attributes:
        rows: what was measured.
        predicted, roofline: seconds.
        waiting: the share of waiting for the host.
        seen: the device was, and the model's family was not.
        held: the interval holds what was measured; its width comes of the residuals of others.
    """

    rows: list[Row]
    predicted: Array
    roofline: Array
    waiting: Array
    seen: Array
    held: Array

    @property
    def ratios(self) -> Array:
        return self.predicted / np.array([row.seconds for row in self.rows])


def find_fold(row: Row) -> int:
    """The quarter of timm's families."""
    return zlib.crc32(row.family.encode()) % FOLDS


def leave_out(rows: Sequence[Row], every: int, rounds: int = ROUNDS) -> LeftOut:
    """Predict all that can be left out; models of timm both with their families and with their device."""
    parts: list[tuple[Callable[[Row], bool], bool]] = [
        (lambda row, chip=chip: row.chip == chip, False) for chip in CHIPS
    ]
    parts += [(lambda row, fold=fold: row.source == "timm" and find_fold(row) == fold, True) for fold in range(FOLDS)]
    found = []
    for is_out, seen in parts:
        out = [row for row in rows if is_out(row)]
        if out:
            constants = fit([row for row in thin(rows, every) if not is_out(row)], rounds)
            batch = Batch(out)
            predicted, waiting = batch.predict_parts(constants)
            found.append((out, predicted, batch.bound(constants), waiting, np.full(len(out), seen)))
            print(".", end="", file=sys.stderr, flush=True)
    return _hold([row for part in found for row in part[0]], *(np.concatenate([part[i] for part in found])
                                                               for i in (1, 2, 3, 4)), found)  # fmt: skip


def _hold(rows: list[Row], predicted: Array, roofline: Array, waiting: Array, seen: Array, parts: list[Any]) -> LeftOut:
    """Whether intervals hold, whose widths come of the other parts."""
    errors = np.log(predicted / np.array([row.seconds for row in rows]))
    part = np.repeat(np.arange(len(parts)), [len(one[0]) for one in parts])
    held = np.zeros(len(rows), bool)
    for index in range(len(parts)):
        others, own = np.nonzero(part != index)[0], np.nonzero(part == index)[0]
        spread = find_spread([rows[i] for i in others], errors[others], waiting[others], seen[others])
        held[own] = [hold(rows[i], errors[i], waiting[i], bool(seen[i]), spread) for i in own]
    return LeftOut(rows, predicted, roofline, waiting, seen, held)


def rank(values: Array) -> Array:
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return ranks


def correlate_ranks(one: Array, other: Array) -> float:
    """Spearman's coefficient; ties are as good as none among times."""
    return float(np.corrcoef(rank(one), rank(other))[0, 1])


HEAD = ("left out", "rows", "median", "mean", "p90", "bias", "in interval", "rank", "roofline", "NeuSight")
WIDTHS = (56, 6, 7, 7, 7, 7, 12, 6, 9, 9)


def show_line(cells: Sequence[str]) -> str:
    first, *others = cells
    return first.ljust(WIDTHS[0]) + "".join(cell.rjust(width) for cell, width in zip(others, WIDTHS[1:], strict=True))


def describe(name: str, left: LeftOut, chosen: Array, published: str = "") -> str:
    """One line of the table, in percent."""
    ratios, rows = left.ratios[chosen], [left.rows[i] for i in np.nonzero(chosen)[0]]
    errors = np.abs(ratios - 1.0)
    samples = np.array([row.samples for row in rows])
    measured = np.array([row.seconds for row in rows]) / samples
    roofline = np.abs(left.roofline[chosen] / samples / measured - 1.0)
    ranks = correlate_ranks(left.predicted[chosen] / samples, measured) if len(rows) > 2 else float("nan")
    percent = [100 * value for value in (np.median(errors), errors.mean(), np.quantile(errors, 0.9),
                                         np.median(ratios) - 1.0)]  # fmt: skip
    cells = [name, str(len(rows)), *(f"{value:.1f}" for value in percent), f"{100 * left.held[chosen].mean():.0f}"]
    return show_line([*cells, f"{ranks:.3f}", f"{100 * np.median(roofline):.1f}", published])


def list_lines(left: LeftOut) -> Iterator[str]:
    """The table: by source, device, dtype and mode."""
    yield show_line(HEAD)
    cells: dict[Any, list[int]] = defaultdict(list)
    for index, row in enumerate(left.rows):
        layout = " channels last" if row.setting.channels_last else ""
        if row.source == "timm":
            what = "families" if left.seen[index] else "RTX 3090"
            cells[f"timm, {what} left out: {row.dtype} {row.mode}{layout}"].append(index)
            cells[f"timm, {what} left out: all"].append(index)
            continue
        cells[f"{row.source}: {row.device.removeprefix('NVIDIA ')} {row.dtype} {row.mode}"].append(index)
        cells[f"{row.source}: all"].append(index)
    for name in sorted(cells):
        chosen = np.zeros(len(left.rows), bool)
        chosen[cells[name]] = True
        yield describe(name, left, chosen, NEUSIGHT.get(name.partition(":")[0], "") if name.endswith("all") else "")
    yield from _list_medians(left)


def list_families(left: LeftOut) -> Iterator[str]:
    """timm: a line per family, when it was left out."""
    families: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(left.rows):
        if row.source == "timm" and left.seen[index]:
            families[row.family].append(index)
    for name in sorted(families):
        chosen = np.zeros(len(left.rows), bool)
        chosen[families[name]] = True
        yield describe(f"timm, family {name}", left, chosen)


def list_guide_rows(table: str) -> Iterator[str]:
    """The lines of the printed table that the guide shows, in Markdown: those of whole sources, and torchvision's."""
    for line in table.splitlines():
        name, cells = line[: WIDTHS[0]].strip(), line[WIDTHS[0] :].split()
        if name.startswith("timm") or name.endswith(": all"):
            shown = [*cells, "–"] if len(cells) < len(HEAD) - 1 else cells
            yield f"| {name.removesuffix(': all')} | {' | '.join(shown)} |"


def _list_medians(left: LeftOut) -> Iterator[str]:
    """torchvision: the median error of each GPU, and the median and worst of these."""
    yield ""
    for dtype in ("float32", "float16"):
        for mode in ("forward", "train"):
            errors = defaultdict(list)
            for row, ratio in zip(left.rows, left.ratios, strict=True):
                if row.source == "torchvision" and (row.dtype, row.mode) == (dtype, mode):
                    errors[row.chip].append(abs(ratio - 1.0))
            medians = [float(np.median(found)) for found in errors.values()]
            if medians:
                yield (f"torchvision {dtype} {mode}: median over {len(medians)} GPUs of their medians "
                       f"{100 * np.median(medians):.1f} %, worst {100 * max(medians):.1f} %")  # fmt: skip


def update_guide(page: str, table: str) -> str:
    """The guide's page with these scores: the rows under its table's head, and torchvision's lines."""
    lines = page.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("| left out")) + 2
    last = next(place for place in range(first, len(lines)) if not lines[place].startswith("|"))
    lines[first:last] = list_guide_rows(table)
    medians = [line for line in table.splitlines() if line.startswith("torchvision float")]
    shown = [place for place, line in enumerate(lines) if line.startswith("* float")]
    for place, line in zip(shown, medians, strict=True):
        lines[place] = f"* {line.removeprefix('torchvision ')}"
    return "\n".join(lines) + "\n"


def write_all(rows: Sequence[Row], left: LeftOut, every: int) -> None:
    """What the package and the guide hold of this."""
    constants = fit(thin(rows, every))
    errors = np.log(left.ratios)
    spread = find_spread(left.rows, errors, left.waiting, left.seen)
    write_constants(constants, spread, {row.device for row in rows if row.source != "large products"})
    table = "\n".join(list_lines(left)) + "\n"
    SCORES.write_text(table, encoding="utf-8")
    GUIDE.write_text(update_guide(GUIDE.read_text(encoding="utf-8"), table), encoding="utf-8")
    models = [index for index, row in enumerate(left.rows) if not is_op(row)]
    PICTURE.write_text(draw_scatter([(left.rows[i], float(left.predicted[i])) for i in models]), encoding="utf-8")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few models and rounds")
    parser.add_argument("--families", action="store_true", help="a line for each family of timm, too")
    parser.add_argument("--write", action="store_true", help="constants, table and picture")
    asked = parser.parse_args(words)
    rows = list(list_rows())
    every = 16 if asked.quick else 4
    left = leave_out(rows, every, 3 if asked.quick else ROUNDS)
    print("\n".join(list_lines(left)))
    if asked.families:
        print("\n".join(list_families(left)))
    if asked.write:
        write_all(rows, left, every)


if __name__ == "__main__":
    main(sys.argv[1:])
