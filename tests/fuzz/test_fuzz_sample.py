"""A sample of the fuzz runs: `fuzz.run` checks 20,000 modules, `fuzz.grammars` 100,000 texts a grammar."""

from __future__ import annotations

import pytest
from fuzz.grammars import READ, broken
from fuzz.run import differences
from fuzz.text_options import GRAMMARS, WITHOUT, list_text_options

from archprof.errors import UsageError


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_generated_modules(seed: int) -> None:
    found = {each: differences(each) for each in range(seed, seed + 20)}
    assert not {each: lines for each, lines in found.items() if lines}


@pytest.mark.parametrize(
    ("grammar", "text"),
    [("model", f"f(a=x{'-1' * 1000})"), ("input", "{'\ud800': 3x4}"), ("input", "{'\0': 3x4}"), ("input", "'\\x1'")],
)
def test_texts_that_once_had_a_traceback(grammar: str, text: str) -> None:
    with pytest.raises(UsageError):
        READ[grammar](text)


@pytest.mark.parametrize("grammar", READ)
def test_random_text(grammar: str) -> None:
    count = 300 if "device" in grammar else 1000  # each that is no device is held against all names there are
    found, good = broken(grammar, count, seed=1)
    assert not found
    assert good < count - count // 15 or grammar in ANSWERS_ALL
    if grammar not in NONE_IS_THERE:
        assert good > count // 50


NONE_IS_THERE = ("data",)
"""Whose good texts name files."""

ANSWERS_ALL = ("devices pattern",)
"""With a table that may be empty."""


@pytest.mark.slow
@pytest.mark.parametrize("grammar", READ)
def test_a_hundred_thousand_texts(grammar: str) -> None:
    assert not broken(grammar, 100_000, seed=2)[0]


@pytest.mark.parametrize(("command", "name"), list(list_text_options()))
def test_every_option_that_takes_text_has_a_grammar(command: str, name: str) -> None:
    assert (GRAMMARS.get(name) in READ) != (name in WITHOUT), f"--{name} of {command}"
