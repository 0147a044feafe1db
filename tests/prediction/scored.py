"""What the last whole score said, row by row, and what the guide shows of it: a table and a picture.

`python tests/prediction/score.py --write` writes the rows; `python tests/prediction/scored.py` draws the picture and
prints the table.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROWS = Path(__file__).parent / "data" / "scored.csv"
PICTURE = Path(__file__).parents[2] / "reports" / "memory-predicted.svg"

SETS = {
    "max allocated": "max allocated, PePR, Adam, float32",
    "reserved": "reserved, the same",
    "device used": "device used, timm on an A100, SGD",
    "language model": "allocated, language models",
}
"""The quantities, and how the guide calls them."""

INKS = {"max allocated": "#1f77b4", "reserved": "#ff7f0e", "device used": "#7f7f7f", "language model": "#2ca02c"}
SIZE, EDGE = 420, 46
DECADES = (8, 11)
"""The axes go from 10^8 to 10^11 bytes."""


BY_KERNEL = ", a kernel refuses"
"""Behind what a row is of: whatever memory there is, it does not run."""


class Scored(NamedTuple):
    """One measurement and its prediction, in bytes, by the figures of the package."""

    quantity: str
    what: str
    predicted: int
    measured: int

    @property
    def is_refused(self) -> bool:
        """Of a batch: it needs more than there is, or a kernel does not take it."""
        return self.predicted > self.measured or self.what.endswith(BY_KERNEL)

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


def summarise(errors: Sequence[float]) -> tuple[float, float, float]:
    """Median and p90 of the sizes of relative errors; the share that is below -2 %."""
    sizes = sorted(map(abs, errors))
    p90 = sizes[min(int(0.9 * len(sizes)), len(sizes) - 1)]
    return statistics.median(sizes), p90, sum(error < -0.02 for error in errors) / len(errors)


def read_scored() -> list[Scored]:
    with ROWS.open(newline="") as file:
        return [
            Scored(row["quantity"], row["what"], int(row["predicted"]), int(row["measured"]))
            for row in csv.DictReader(file)
        ]


def write_scored(rows: Iterable[Scored]) -> None:
    with ROWS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([Scored._fields, *rows])


def tabulate(rows: list[Scored]) -> str:
    """The table of the guide."""
    lines = ["| measured | rows | median error | p90 | under by 2 % |", "|---|---|---|---|---|"]
    for quantity, words in SETS.items():
        errors = [row.error for row in rows if row.quantity == quantity]
        median, p90, under = summarise(errors)
        lines.append(f"| {words} | {len(errors)} | {median * 100:.2f} % | {p90 * 100:.1f} % | {under * 100:.0f} % |")
    return "\n".join(lines) + "\n"


def tabulate_fits(rows: list[Scored]) -> str:
    """The table of whether it fits: by the value, which is more than there is, or not."""
    lines = [
        "| timm, autocast | batches that ran | refused | the next, which did not | caught | by a kernel's limit | "
        "not built any more |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode, words in (("train", "training, RTX 3090"), ("infer", "inference, four GPUs")):
        counts = []
        for ended in ("ran", "failed"):
            needs = [row for row in rows if row.quantity == f"{ended}, {mode}"]
            share = sum(row.is_refused for row in needs) / len(needs)
            counts.append(f"{len(needs)} | {share * 100:.1f} %")
        counts.append(f"{sum(row.what.endswith(BY_KERNEL) for row in needs) / len(needs) * 100:.1f} %")
        gone = sum(row.quantity == f"not built, {mode}" for row in rows)
        lines.append(f"| {words} | {' | '.join(counts)} | {gone} |")
    return "\n".join(lines) + "\n"


def place(nbytes: float) -> float:
    """Pixels along an axis."""
    low, high = DECADES
    return (math.log10(nbytes) - low) / (high - low) * SIZE


def draw(rows: list[Scored]) -> str:
    """Predicted against measured, both axes by powers of ten; what is right lies on the line."""
    high = SIZE + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {high + 16} {high + 16}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Predicted against measured memory, in bytes</title>",
        f'<rect width="{high + 16}" height="{high + 16}" fill="#fff"/>',
        f'<path d="M{EDGE} {SIZE}L{high} 0" stroke="#bbb"/>',
        f'<path d="M{EDGE} 0V{SIZE}H{high}" fill="none" stroke="#333"/>',
    ]
    for power, name in ((8, "0.1 GB"), (9, "1 GB"), (10, "10 GB"), (11, "100 GB")):
        at = round(place(10**power))
        parts.append(
            f'<text x="{EDGE + at}" y="{SIZE + 16}" text-anchor="{"end" if at == SIZE else "start"}">{name}</text>'
        )
        if at:
            parts.append(f'<text x="{EDGE - 4}" y="{SIZE - at + 12}" text-anchor="end">{name}</text>')
    for quantity, ink in INKS.items():
        dots = "".join(
            f"M{EDGE + place(row.measured):.0f} {SIZE - place(row.predicted):.0f}h0"
            for row in rows
            if row.quantity == quantity
        )
        parts.append(f'<path d="{dots}" stroke="{ink}" stroke-width="5" stroke-linecap="round" opacity=".6"/>')
    for number, (quantity, ink) in enumerate(INKS.items()):
        parts.append(f'<text x="{EDGE + 14}" y="{24 + 16 * number}" fill="{ink}">{quantity}</text>')
    parts.append(f'<text x="{high / 2 + 20}" y="{high}" text-anchor="middle">measured</text>')
    parts.append(f'<text x="{EDGE + 14}" y="{24 + 16 * len(INKS)}">up: predicted</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    rows = read_scored()
    PICTURE.write_text(draw(rows))
    sys.stdout.write(f"{tabulate(rows)}\n{tabulate_fits(rows)}")


if __name__ == "__main__":
    main()
