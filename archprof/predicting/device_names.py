"""Devices as people type them: "4090", "rtx4090", "a100-40", "2080ti", "mi300"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import combinations

MODULE = re.compile(r"\bSXM")
"""A name of what sits on the board of a server, where there are cards of the same chip."""

NEAR_NAMES = 4
MIN_LIKENESS, ALMOST = 0.7, 0.75

MOST_LETTERS = 100
"""Of a text that may be nearly a name."""


@lru_cache(1024)
def split_words(text: str) -> tuple[str, ...]:
    """The words of a name; "80gb" is "80"."""
    words = re.findall(r"[a-z0-9]+", text.casefold())
    return tuple(word.removesuffix("gb") if word[0].isdigit() else word for word in words)


def find_by_words(text: str, names: Sequence[str]) -> list[str]:
    """The names that hold all words of `text`; or else all in one word, as "rtx4090"; or with letters behind them, as
    "mi300" is in "AMD MI300X".
    """
    words = split_words(text[:MOST_LETTERS])
    if not words:
        return []
    for holds in (_holds_all, _holds_run, _begins_all):
        if found := [name for name in names if holds(split_words(name), words)]:
            return found
    return []


def _holds_all(name: Sequence[str], words: Sequence[str]) -> bool:
    return {*words} <= {*name}


def _holds_run(name: tuple[str, ...], words: Sequence[str]) -> bool:
    """Words of the name that stand behind each other are the words wanted, however these are set apart."""
    return "".join(words) in _list_runs(name)


@lru_cache(1024)
def _list_runs(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words that stand behind each other, in one word."""
    return tuple("".join(words[first:last]) for first, last in combinations(range(len(words) + 1), 2))


def _begins_all(name: Sequence[str], words: Sequence[str]) -> bool:
    return all(any(re.fullmatch(f"{word}(?<=[0-9])[a-z]*", one) for one in name) or word in name for word in words)


def choose_plain(names: Sequence[str]) -> list[str]:
    """The one of several names that is meant: without the word that the others add, or else the server's module."""
    modules = [name for name in names if MODULE.search(name)]
    return _find_plainest(names) or _find_plainest(modules) or list(names)


def _find_plainest(names: Sequence[str]) -> list[str]:
    """The only name whose words all of the others have, too; what stands in brackets is no part of it."""
    words = {name: {*split_words(name.partition("(")[0])} for name in names}
    plain = [name for name in names if all(words[name] <= words[other] for other in names)]
    return plain if len(plain) == 1 else []


def list_near_names(text: str, names: Iterable[str]) -> list[str]:
    """The names whose words are most like those of `text`, the nearest first."""
    wanted = split_words(text[:MOST_LETTERS])
    likeness = {name: _compare_words(wanted, split_words(name)) for name in names}
    near = sorted(likeness, key=lambda name: (-likeness[name], len(name)))
    return [name for name in near if likeness[name] >= MIN_LIKENESS][:NEAR_NAMES]


def _compare_words(wanted: Sequence[str], words: tuple[str, ...]) -> float:
    """How like each wanted word is to the nearest of the others, on average, or all in one are: 1 where they are."""
    if not wanted:
        return 0.0
    each = sum(max(_find_likeness(word, other) for other in words) for word in wanted) / len(wanted)
    return max(each, _find_likeness_of_run("".join(wanted), words))


def _find_likeness_of_run(word: str, words: tuple[str, ...]) -> float:
    """How like a word is to the most like run of others; 0 where that is too little to be near."""
    return max((_find_likeness(word, run) for run in _list_runs(words) if _may_be_near(word, run)), default=0.0)


def _may_be_near(word: str, other: str) -> bool:
    """Whether the lengths let them be near, or one letter off: which is much faster to tell."""
    shorter, longer = sorted((len(word), len(other)))
    return 2 * shorter >= MIN_LIKENESS * (shorter + longer)


@lru_cache(4096)
def _find_likeness(word: str, other: str) -> float:
    """How like two words are, from 0 to 1; of short ones, as "t5", half the letters may be the same."""
    return ALMOST if _is_one_letter_off(word, other) else SequenceMatcher(None, word, other).ratio()


def _is_one_letter_off(word: str, other: str) -> bool:
    """One letter for another, in words of two or three."""
    return len(word) == len(other) in (2, 3) and sum(map(str.__ne__, word, other)) == 1
