"""Files that were damaged at random: a value of JSON exchanged, lost, doubled or moved; letters or bytes changed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, -5, 1.5, float("nan"), float("inf"), 1e300, 2**31, 2**63, 10**400, "", "x",
    "float32", "\x1b[31m", "\ud800", [], [[]], [1], [-1], [1, 2, 3], {}, {"a": 1}, "9" * 50, [[[[[[1]]]]]],
)  # fmt: skip

Place = tuple[Any, ...]


def list_places(value: Any, place: Place = ()) -> list[Place]:
    """Where every value of some JSON stands, itself included."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, part in parts for found in list_places(part, (*place, key)))]


def damage_json(text: str, places: list[Place], rng: Random) -> str:
    """The text with one value damaged; `places` are those of its values."""
    data = json.loads(text)
    place = rng.choice(places[1:])
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    key, old, how = place[-1], holder[place[-1]], rng.random()
    if isinstance(old, list) and old and how < 0.3:
        old.append(rng.choice((*ODD_VALUES, old[rng.randrange(len(old))])))
    elif isinstance(old, list) and how < 0.5:
        rng.shuffle(old)
    elif how < 0.6:
        del holder[key]
    elif type(old) in (int, float) and how < 0.8:
        holder[key] = old + rng.choice((1, -1, 100, -100))
    else:
        holder[key] = rng.choice(ODD_VALUES)
    return json.dumps(data)


SIGNS = "\x00\x07\x1b\r\n\"'[]{}=.#,-+0129aeEinf_ \\\u202e\u0663\U0001f600"


def damage_text(text: str, rng: Random) -> str:
    """The text with up to four letters or lines changed, lost, doubled or moved."""
    for _ in range(rng.randint(1, 4)):
        at, how = rng.randrange(len(text) + 1), rng.random()
        lines = text.splitlines(keepends=True)
        if how < 0.3:
            text = text[:at] + rng.choice(SIGNS) * rng.choice((1, 1, 1, 5, 5000)) + text[at:]
        elif how < 0.6:
            text = text[:at] + text[at + rng.randint(1, 5) :]
        elif how < 0.8 and lines:
            text = "".join([*lines, rng.choice(lines)])
        else:
            rng.shuffle(lines)
            text = "".join(lines)
    return text


def damage_bytes(data: bytes, rng: Random) -> bytes:
    """The bytes with up to four of them, or runs of them, changed, lost or doubled, or cut off."""
    for _ in range(rng.randint(1, 4)):
        at, count, how = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 100)), rng.random()
        if how < 0.5:
            other = bytes(rng.choices((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)), k=count))
            data = data[:at] + other + data[at + count :]
        elif how < 0.7:
            data = data[:at] + data[at + count :]
        elif how < 0.9:
            data = data[:at] + data[at : at + count] * 2 + data[at + count :]
        else:
            data = data[:at]
    return data
