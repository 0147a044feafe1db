"""Writes archprof/data/timm.csv: timm's own results on ImageNet, with the size and the work of each net as traced.

    python tests/zoo/publish.py results-imagenet.csv [--jobs 2]

The results are those of https://github.com/huggingface/pytorch-image-models, results/results-imagenet.csv. Nets that
the installed timm does not know, or that do not run at the size of their result, are left out and said; of several
weights of one architecture and size those with the smallest error are kept, for the cost of all is the same.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import sys
from pathlib import Path

import archprof
from archprof.errors import ArchprofError

DATA = Path(archprof.__file__).parent / "data" / "timm.csv"
NAMES = ("name", "image", "params", "macs", "top1_error", "top5_error")


def trace_result(row: dict[str, str]) -> tuple[str, ...] | str:
    """The row of one result, or why there is none."""
    name, size = row["model"], row["img_size"]
    try:
        totals = archprof.profile(f"timm:{name}", f"3x{size}x{size}").totals
    except ArchprofError as error:
        return f"{name}: {str(error).splitlines()[0]}"
    if not totals.complete:
        return f"{name}: not all was counted"
    return name, size, str(totals.params), str(totals.macs), row["top1_err"], row["top5_err"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    with open(asked.results, encoding="utf-8", newline="") as lines:
        every = sorted(csv.DictReader(lines), key=lambda row: -float(row["top5_err"]))
    rows = list({(row["model"].partition(".")[0], row["img_size"]): row for row in every}.values())
    with multiprocessing.get_context("spawn").Pool(asked.jobs) as pool:
        found = pool.map(trace_result, rows, chunksize=8)
    sys.stderr.writelines(f"{reason}\n" for reason in found if isinstance(reason, str))
    with DATA.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [NAMES, *sorted(one for one in found if not isinstance(one, str))]
        )


if __name__ == "__main__":
    main()
