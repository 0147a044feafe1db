"""Numbers and places as a sentence says them: never rounded to what is not so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from string import ascii_uppercase

from archprof import units

ALIKE_SHARE = 0.01
"""Numbers that differ by less than this share of the larger are called about the same."""

SMALL_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def are_alike(a: float, b: float) -> bool:
    return abs(a - b) < ALIKE_SHARE * max(abs(a), abs(b)) or a == b


def say_times(ratio: float) -> str:
    """How many times: 8.53x, 11.8x, 1,204x, 0.0041x."""
    if ratio < 0.1:
        return f"{ratio:.2g}x"
    return f"{ratio:,.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}x"


def say_percent(share: float) -> str:
    """A whole percent that says neither all nor nothing where it is not so."""
    if 0 < share < 0.01:
        return "under 1%"
    if 0.99 < share < 1:
        return "over 99%"
    return f"{share:.0%}"


def tenths_of_percent(share: Fraction, signed: bool = False) -> str:
    """A share as `2.2%`, or `+2.2%` if `signed`; what is not 0 never prints as 0 (`<0.1%`)."""
    tenths = round(abs(share) * 1000)
    sign = "-" if share < 0 else "+" if signed and share else ""
    if share and not tenths:
        return f"{'>' if share < 0 else '<'}{sign}0.1%"
    return f"{sign}{tenths // 10:,}.{tenths % 10}%"


def say_count(value: int) -> str:
    """Every digit up to a million: it is checked against a figure."""
    return f"{value:,}" if value < 1_000_000 else units.show_quantity(value, "count")


def say_bytes(value: int) -> str:
    return units.show_quantity(value, "bytes")


def say_both(a: int, b: int) -> str:
    return f"{say_count(a)} against {say_count(b)}"


def join_words(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def say_once(lines: Sequence[Iterable[str]]) -> tuple[str, ...]:
    """Every line of several models once, under the letters of those that it is about where it is not about all."""
    about: dict[str, list[str]] = {}
    for letter, own in zip(ascii_uppercase, lines, strict=False):
        for line in dict.fromkeys(own):
            about.setdefault(line, []).append(letter)
    return tuple(line if len(who) == len(lines) else f"{', '.join(who)}: {line}" for line, who in about.items())


def say_place(names: Sequence[str]) -> str:
    """Where stages are: "at 56x56", "at 224x224 and 112x112", "in the layers on vectors"."""
    special = {"vector": "in the layers on vectors", "not read": "in weights that no op reads"}
    if len(names) == 1 and names[0] in special:
        return special[names[0]]
    return f"at {' and '.join(names)}"
