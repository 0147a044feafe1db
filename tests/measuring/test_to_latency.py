"""The arithmetic of samples, on paper and on samples of every kind."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof.facts.measured import Timing

SECONDS = st.floats(1e-9, 1e3)


def test_a_timing_on_paper() -> None:
    timing = Timing(0, ((3.0, 1.0, 2.0), (9.0, 5.0), (4.0,)))
    assert timing.medians == (2.0, 7.0, 4.0)
    assert (timing.p50, timing.low, timing.high, timing.least, timing.samples) == (4.0, 2.0, 7.0, 1.0, 6)
    assert timing.p90 == 9.0
    assert Timing(0, (tuple(map(float, range(1, 11))),)).p90 == 9.0  # nine of ten are not above it


@pytest.mark.parametrize(
    ("rounds", "stable"),
    [((1.0, 1.05, 1.1), True), ((1.0, 1.05, 1.11), False), ((1.0, 1.0), False), ((0.0, 0.0, 0.0), True)],
)
def test_stable_is_three_rounds_within_a_tenth(rounds: tuple[float, ...], stable: bool) -> None:
    assert Timing(0, tuple((seconds,) for seconds in rounds)).stable is stable


@given(st.lists(st.lists(SECONDS, min_size=1, max_size=9), min_size=1, max_size=9))
def test_the_median_lies_in_its_interval(rounds: list[list[float]]) -> None:
    timing = Timing(0, tuple(map(tuple, rounds)))
    samples = sorted(sample for samples in rounds for sample in samples)
    assert timing.least == samples[0] <= timing.low <= timing.p50 <= timing.high <= samples[-1]
    assert timing.p50 == statistics.median(map(statistics.median, rounds))
    below = sum(sample <= timing.p90 for sample in samples)
    assert below >= 0.9 * len(samples)
    assert sum(sample < timing.p90 for sample in samples) < 0.9 * len(samples)
