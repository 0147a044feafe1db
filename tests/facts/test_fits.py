"""Whether records hold what their annotations say: many values at once, and the place of the one that does not."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pytest

from archprof.facts.fits import DEEPEST, MOST, Misfit, check_record


class Inner(NamedTuple):
    count: int
    share: float | None = None


class Outer(NamedTuple):
    name: str = "x"
    role: Literal["input", "output"] = "input"
    inner: tuple[Inner, ...] = ()
    key: int | str = 0
    pair: tuple[int, int] = (0, 0)
    args: Any = None
    sizes: tuple[tuple[int, ...], ...] = ()


def nest(depth: int, value: Any) -> Any:
    return value if not depth else (nest(depth - 1, value),)


FITTING = [
    Outer(), Outer(inner=(Inner(1), Inner(2, 0.5), Inner(3, 4))), Outer(key="text"), Outer(key=MOST - 1),
    Outer(args=(1, "a", None, True, (1.5, ()))), Outer(args=nest(DEEPEST, 1)), Outer(sizes=((), (1, 2))),
    Outer(inner=(Inner(1, -1e9),)),
]  # fmt: skip


@pytest.mark.parametrize("record", FITTING)
def test_what_fits(record: Outer) -> None:
    check_record(record)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Outer(name=1), "name is 1"),
        (Outer(role="temporary"), "role is a text, and none of input, output"),
        (Outer(role=[]), "role is a list, and none of input, output"),
        (Outer(inner=(Inner(1), Inner(True))), "inner[1].count is true or false"),
        (Outer(inner=(Inner(1), Inner(-1))), "inner[1].count is -1"),
        (Outer(inner=(Inner(1), (1, None))), "inner[1] is a list"),
        (Outer(inner=[Inner(1)]), "inner is a list"),
        (Outer(inner=(Inner(1, 0.5), Inner(2, float("nan")))), "inner[1].share is a number out of range"),
        (Outer(inner=(Inner(1, float("nan")), Inner(2, 0.5))), "inner[0].share is a number out of range"),
        (Outer(inner=(Inner(1, float("inf")),)), "inner[0].share is a number out of range"),
        (Outer(inner=(Inner(1, 10**400),)), "inner[0].share is a number out of range"),
        (Outer(key=1.5), "key is 1.5"),
        (Outer(key=MOST), "key is a number out of range"),
        (Outer(pair=(1, 2, 3)), "pair is a list"),
        (Outer(pair=(1, -2)), "pair is -2"),
        (Outer(args=(1, {})), "args is an object"),
        (Outer(args=(1, (float("inf"),))), "args is a number out of range"),
        (Outer(args=nest(DEEPEST + 1, 1)), "args is a list"),
        (Outer(sizes=((1,), (2, "3"))), "sizes[1][1] is a text"),
    ],
)  # fmt: skip
def test_what_does_not_fit(record: Any, words: str) -> None:
    with pytest.raises(Misfit) as refused:
        check_record(record)
    assert str(refused.value) == words
