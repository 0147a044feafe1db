"""The figures of the lectures, from tests/data/lectures.csv."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    id: str
    lecture: str
    claim: str
    model: str
    input: str
    quantity: str
    expected: str
    unit: str
    status: str
    note: str

    @property
    def numbers(self) -> list[float]:
        """Every number of `expected`, in order; "64x56x56" holds three."""
        return [
            float(number) for number in re.findall(r"\b\d+(?:\.\d+)?", re.sub(r"(?<=\d)x(?=\d)", " ", self.expected))
        ]


def read() -> dict[str, Row]:
    with (Path(__file__).parent.parent / "data" / "lectures.csv").open(encoding="utf-8", newline="") as lines:
        return {row["id"]: Row(**row) for row in csv.DictReader(lines)}


ROWS = read()
