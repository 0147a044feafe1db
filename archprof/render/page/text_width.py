"""How wide a text is drawn, without a browser: by the widths of DejaVu Sans, which is wider than most fonts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

ASCII_WIDTHS = (
    "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 53 100 68 69 70 77 "
    "63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 84 50 50 61 63 55 63 62 35 63 63 28 28 "
    "58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 64 84"
)
"""Hundredths of the size, from the blank on; read off Chromium."""

WIDTHS = {chr(32 + i): int(width) for i, width in enumerate(ASCII_WIDTHS.split())} | {
    "×": 84,
    "–": 50,
    "…": 100,
    "·": 32,
    **dict.fromkeys("²³⁴", 45),
}
NARROWEST = min(WIDTHS.values())
OTHER_WIDTH, BOLD_EXTRA = 130, 9
"""Of any other character; what a bold one is wider at most."""

ELLIPSIS = "…"


def measure_text(text: str, size: float, *, bold: bool = False) -> float:
    """Pixels that the text takes at most."""
    extra = BOLD_EXTRA if bold else 0
    return sum(WIDTHS.get(one, OTHER_WIDTH) + extra for one in text) * size / 100


def fit_text(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """The text, or as much of its start as has room, with an ellipsis; "" where not even that has."""
    most = min(len(text) - 1, _count_most_letters(room, size))
    return _first_fit(chain([text], (f"{text[:n]}{ELLIPSIS}" for n in range(most, 0, -1))), room, size, bold)


def fit_path(path: str, room: float, size: float, *, bold: bool = False) -> str:
    """The path, or its last words that have room behind an ellipsis; of one long word its end."""
    most = _count_most_letters(room, size)
    return _first_fit((text for text in _shorten_path(path) if len(text) <= most), room, size, bold)


def _count_most_letters(room: float, size: float) -> int:
    """Of a text that has room: no more are tried, however long it is."""
    return int(100 * room / (size * NARROWEST))


def _shorten_path(path: str) -> Iterator[str]:
    yield path
    for at, sign in enumerate(path):
        if sign == ".":
            yield f"{ELLIPSIS}{path[at + 1 :]}"
    last = path.rpartition(".")[2]
    for n in range(1, len(last)):
        yield f"{ELLIPSIS}{last[n:]}"


def _first_fit(texts: Iterable[str], room: float, size: float, bold: bool) -> str:
    return next((text for text in texts if measure_text(text, size, bold=bold) <= room), "")
