"""Names of folded and merged pieces: "layer3.1-35" for equal siblings, "conv1" for a layer with what follows it."""

from __future__ import annotations

import re

RANGE_DASH = "–"
_DIGITS = re.compile(r"\d+")


def drop_numbers(path: str) -> str:
    """The path with "#" in the place of each number: siblings that are numbered share it."""
    return _DIGITS.sub("#", path)


def name_range(first: str, last: str) -> str:
    """From the first to the last of them: "layer3.1" and "layer3.35" are "layer3.1–35"."""
    if first == last:
        return first
    one, other = _DIGITS.findall(first), _DIGITS.findall(last)
    different = [i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    if drop_numbers(first) == drop_numbers(last) and len(different) == 1:
        numbers = iter(range(len(one)))
        at = different[0]
        return _DIGITS.sub(
            lambda match: f"{match[0]}{RANGE_DASH}{other[at]}" if next(numbers) == at else match[0], first
        )
    return f"{first}{RANGE_DASH}{_drop_common(first, last)}"


def _drop_common(first: str, last: str) -> str:
    """What `last` has behind the words that both start with."""
    shared = 0
    for at, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            break
        if a in "._":
            shared = at + 1
    return last[shared:]
