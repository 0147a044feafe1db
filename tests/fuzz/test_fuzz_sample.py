"""A sample of the fuzz runs: `fuzz.run` checks 20,000 modules, `fuzz.grammars` 100,000 texts a grammar."""

from __future__ import annotations

import pytest
from fuzz.grammars import READ, broken
from fuzz.run import differences

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
    count = 300 if grammar == "device" else 1500  # each that is no device is held against all names there are
    found, good = broken(grammar, count, seed=1)
    assert not found
    assert count // 15 < good < count - count // 15
