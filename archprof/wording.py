"""How a sentence says a shape, so many of a thing, and the first of many names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def show_shape(shape: Iterable[int], empty: str = "a scalar") -> str:
    """ "1x3x224x224"."""
    return "x".join(map(str, shape)) or empty


def say_many(count: int, thing: str) -> str:
    """ "1 cell", "1,200 cells"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def split_words(text: str) -> list[str]:
    """The words of "a, b,c"."""
    return [word.strip() for word in text.split(",")]


def name_few(names: Sequence[str], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
