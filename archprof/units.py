"""Numbers as people write them: SI counts, IEC bytes, times; one prefix per column.

Inside the program everything is in base units; a prefix exists only in printed text and in what a user types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from archprof.errors import UsageError

Unit = Literal[
    "text", "words", "path", "call", "shapes", "count", "bytes", "seconds", "duration", "share", "flops_per_byte",
    "flop_per_second", "bytes_per_second", "bits_per_second", "hertz", "watts", "money", "number", "whole",
]  # fmt: skip
"""What values are: a text, words that are never cut, or numbers of one of `UNIT_LADDERS`."""

UNIT_LADDERS: dict[str, tuple[tuple[str, float], ...]] = {
    "count": (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12), ("P", 10**15)),
    "whole": (("", 1),),
    "bytes": (("B", 1), ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40)),
    "seconds": (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1)),
    "duration": (("s", 1), ("min", 60), ("h", 3600)),
    "share": (("%", 0.01),),
    "flops_per_byte": (("FLOP/B", 1),),
    "flop_per_second": (("GFLOP/s", 1e9), ("TFLOP/s", 1e12)),
    "bytes_per_second": (("GB/s", 1e9),),
    "bits_per_second": (("Gb/s", 1e9),),
    "hertz": (("MHz", 1e6),),
    "watts": (("W", 1),),
    "money": (("", 1),),
    "number": (("", 1),),
}
"""The prefixes of each unit, from small to large, with how many base units one of them is."""

MAX_BLURRED_SHARE = {"count": 0.1, "bytes": 0.5, "seconds": 0.5, "duration": 0.5, "flop_per_second": 0.5}
"""The share of a column that may fall below 0.1 of its prefix before the next smaller prefix is taken.

A count is checked against a figure, so few may; bytes and times are read for their large values.
"""

NO_PREFIX_BELOW = 10_000
"""A column of whole counts or bytes that are all below this is printed without a prefix."""

MISSING_MARK = "–"
"""How `None` prints: not known, or not meant for this row."""

BYTE_SUFFIXES = {**dict(UNIT_LADDERS["bytes"]), "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, slots=True)
class UnitScale:
    """How one column prints: `symbol` goes into its header, `factor` base units are one, with `digits` decimals."""

    symbol: str
    factor: float
    digits: int

    def format(self, value: float | None, within: float = 0.0) -> str:
        """The number without its symbol: `4,089.2`; never 0 for what is not 0 (`<0.1`); `–` for `None`.

        A number that is known to be right `within` so many base units is printed down to the first digit of that:
        `4,100`, or one decimal more than the others have.
        """
        if value is None:
            return MISSING_MARK
        if value == 0:
            return "0"
        digits = self._count_digits(value, within) if within else self.digits
        text = f"{round(value / self.factor, digits):,.{max(digits, 0)}f}"
        if text.strip("-0.,"):
            return text
        least = f"{10**-self.digits:.{self.digits}f}"
        return f"<{least}" if value > 0 else f">-{least}"

    def _count_digits(self, value: float, within: float) -> int:
        """Decimals down to the first digit of `within`, or one more where that is a 1; negative for tens.

        The first digit of the value is always there.
        """
        places = -math.floor(math.log10(within / 2 / self.factor))
        return min(self.digits + 1, max(places, -math.floor(math.log10(abs(value) / self.factor))))


@dataclass(frozen=True, slots=True)
class PlainScale(UnitScale):
    """How numbers of all magnitudes print: three digits, `4.9e-05`, without a prefix."""

    def format(self, value: float | None, within: float = 0.0) -> str:
        return MISSING_MARK if value is None else f"{value:.3g}"


def choose_unit_scale(values: Iterable[float | None], unit: str) -> UnitScale:
    """One scale for all of `values` (base units): the largest reads well and the small ones are not lost."""
    if unit == "number":
        return PlainScale("", 1, 3)
    ladder, present = UNIT_LADDERS[unit], [value for value in values if value]
    sizes, whole = [abs(value) for value in present], all(isinstance(value, int) for value in present)
    if not sizes or (whole and ladder[0][1] == 1 and max(sizes) < NO_PREFIX_BELOW):
        return UnitScale(*ladder[-1 if unit == "seconds" else 0], digits=1 if unit == "share" else 0)
    rung = max([i for i, (_, factor) in enumerate(ladder) if factor <= max(sizes)], default=0)
    blurred = sum(size < 0.1 * ladder[rung][1] for size in sizes)
    if rung and blurred > MAX_BLURRED_SHARE[unit] * len(sizes):
        rung -= 1
    symbol, factor = ladder[rung]
    if whole and factor == 1:
        return UnitScale(symbol, factor, 0)
    return UnitScale(symbol, factor, 1 if unit == "share" or max(sizes) >= 1000 * factor else 2)


def choose_total_scale(total: float, unit: str) -> UnitScale:
    """One scale for a total and its parts: the total has from two to four digits before its point, or no prefix."""
    ladder = UNIT_LADDERS[unit]
    if abs(total) < NO_PREFIX_BELOW and isinstance(total, int):
        return UnitScale(*ladder[0], digits=0)
    symbol, factor = max((step for step in ladder if step[1] * 10 <= abs(total)), key=lambda step: step[1])
    return UnitScale(symbol, factor, 2 if abs(total) < 100 * factor else 1)


def show_quantity(value: float | None, unit: str) -> str:
    """One number with its own prefix: `4.09 G`, `96.00 MiB`, `3.20 ms`."""
    scale = choose_unit_scale([value], unit)
    text = scale.format(value)
    return text if value is None or not scale.symbol else f"{text} {scale.symbol}"


def keep_finite(number: float) -> float | None:
    """`None` for what JSON cannot hold."""
    return number if math.isfinite(number) else None


MOST_SIGNS = 100
"""Of a number that someone means; Python itself reads no more than 4,300 digits."""


def parse_whole(text: str) -> int:
    """`"12"` -> 12, as a size, a length or a batch is written; `UsageError` for anything else."""
    digits = text.strip()
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= MOST_SIGNS):
        raise UsageError(f"{text!r} is no whole number.", "Digits, such as 8.")
    return int(digits)


def show_whole(value: int) -> str:
    """A whole number that may be too long to be read: 10**30 is "1e+30"."""
    return str(value) if abs(value) < 10**20 else f"{value:.3g}" if abs(value) < 10**300 else "more than 1e+300"


def parse_count(text: str) -> int:
    """`"4.1G"` -> 4100000000; k M G T P are powers of 1000, in either case. Rounded to a whole number."""
    allowed = "A count is a number with k, M, G, T or P behind it or nothing (1 k = 1000), for example 4.1G or 25,000."
    return round(_parse_quantity(text, dict(UNIT_LADDERS["count"]), allowed))


def parse_bytes(text: str) -> int:
    """`"60MiB"` -> 62914560; KiB is 1024 bytes and KB is 1000. Rounded to a whole number."""
    allowed = "A size is a number with B, KiB, MiB, GiB or TiB (1 KiB = 1024 B), or KB, MB, GB or TB (1 KB = 1000 B)."
    return round(_parse_quantity(text, BYTE_SUFFIXES, allowed))


def parse_seconds(text: str) -> float:
    """`"3ms"` -> 0.003. The suffix is needed: a bare number could be any of them."""
    return float(
        _parse_quantity(
            text, dict(UNIT_LADDERS["seconds"]), "A time is a number with ns, us, ms or s, for example 3ms."
        )
    )


def _parse_quantity(text: str, factors: dict[str, float], allowed: str) -> float:
    """The number in `text` times the factor of its suffix; thousands may be set off by `,` or `_`."""
    by_suffix = {suffix.casefold(): factor for suffix, factor in factors.items()}
    match = re.fullmatch(r"\s*(\d{1,3}(?:[,_]\d{3})+|\d+)?(\.\d+)?\s*([a-zA-Z]*)\s*", text, re.ASCII)
    is_read = match and (match[1] or match[2]) and match[3].casefold() in by_suffix and len(text) <= MOST_SIGNS
    if match is None or not is_read:
        raise UsageError(f"{text!r} cannot be read as a number with a unit.", allowed)
    whole, fraction = (match[1] or "0").replace(",", "").replace("_", ""), (match[2] or ".")[1:]
    number = int(whole + fraction) * by_suffix[match[3].casefold()]
    return number / 10 ** len(fraction) if fraction else number
