"""What is sampled when, in a time that only samples let pass."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from fake_time import Time
from hypothesis import given
from hypothesis import strategies as st

from archprof.errors import UsageError
from archprof.facts.overlays import Outside
from archprof.measuring.protocols import Sample, Unmeasurable
from archprof.measuring.schedule import SamplingOutcome, SamplingPlan, order_samples, sample_in_rounds


class Fake:
    """A sampler that takes the given seconds, one after the other, then the last for ever."""

    def __init__(self, time: Time, *seconds: float, log: list[str] | None = None, name: str = "fake") -> None:
        self.time, self.log, self.name = time, log, name
        self.seconds: Iterator[float] = itertools.chain(seconds, itertools.repeat(seconds[-1]))
        self.prepared = self.taken = 0

    def prepare(self) -> None:
        self.prepared += 1

    def sample(self) -> Sample:
        seconds = next(self.seconds)
        self.time.spend(seconds)
        self.taken += 1
        if self.log is not None:
            self.log.append(self.name)
        return {Outside.WHOLE: seconds}


def taken(outcome: SamplingOutcome, sampler: int = 0) -> list[list[float]]:
    return [[sample[Outside.WHOLE] for sample in samples] for samples in outcome.rounds[sampler]]


def test_a_steady_pass_is_warm_after_half_a_second_and_fills_seven_rounds() -> None:
    time = Time()
    fake = Fake(time, 0.125)
    outcome = sample_in_rounds([fake], SamplingPlan(seconds=14.0), now=time)
    assert fake.prepared == 1
    # Five equal passes are needed to see that they are steady, half a second would be four.
    assert (outcome.warmup_passes, outcome.warmup_seconds) == (5, 0.625)
    assert taken(outcome) == [[0.125] * 15] * 7  # 2 s a round would hold 16; 15 are wanted
    assert not outcome.interrupted
    assert time.now == 0.625 + 7 * 15 * 0.125


def test_slow_first_passes_are_thrown_away() -> None:
    time = Time()
    outcome = sample_in_rounds([Fake(time, 1.0, 0.5, 0.125)], SamplingPlan(seconds=14.0), now=time)
    assert (outcome.warmup_passes, outcome.warmup_seconds) == (7, 1.0 + 0.5 + 5 * 0.125)
    assert {sample for samples in taken(outcome) for sample in samples} == {0.125}


def test_a_pass_that_never_gets_steady_is_warm_when_the_time_for_that_is_over() -> None:
    time = Time()
    restless = Fake(time, *[0.25, 0.5] * 200)
    outcome = sample_in_rounds([restless], SamplingPlan(seconds=40.0), now=time)
    assert outcome.warmup_seconds == 5.25  # the first pass that ends after 5 s
    time, short = Time(), SamplingPlan(seconds=8.0)
    assert (
        sample_in_rounds([Fake(time, *[0.25, 0.5] * 200)], short, now=time).warmup_seconds == 2.25
    )  # after a quarter of 8 s


def test_short_passes_fill_a_time_and_stop_at_a_number() -> None:
    time = Time()
    outcome = sample_in_rounds([Fake(time, 2**-10)], SamplingPlan(), now=time)
    assert {len(samples) for samples in taken(outcome)} == {52}  # 0.05 s of 1/1024 s each
    outcome = sample_in_rounds([Fake(time, 2**-20)], SamplingPlan(), now=time)
    assert {len(samples) for samples in taken(outcome)} == {100}


def test_long_passes_are_sampled_in_fewer_rounds_and_at_least_once() -> None:
    time = Time()
    outcome = sample_in_rounds([Fake(time, 4.0), Fake(time, 1.0)], SamplingPlan(seconds=20.0), now=time)
    assert outcome.warmup_seconds == 5.0
    assert (taken(outcome, 0), taken(outcome, 1)) == ([[4.0]] * 4, [[1.0]] * 4)
    outcome = sample_in_rounds([Fake(time, 60.0)], SamplingPlan(seconds=20.0), now=time)
    assert (outcome.warmup_passes, taken(outcome)) == (1, [[60.0]])


def test_each_gets_its_share_and_the_slower_one_fewer_samples() -> None:
    time = Time()
    outcome = sample_in_rounds([Fake(time, 0.5), Fake(time, 0.125)], SamplingPlan(seconds=28.0), now=time)
    assert {len(samples) for samples in taken(outcome, 0)} == {4}  # 2 s of a round of 4 s
    assert {len(samples) for samples in taken(outcome, 1)} == {15}


def test_the_order_shifts_from_round_to_round() -> None:
    names = [
        [index for _, index in group]
        for _, group in itertools.groupby(order_samples([2, 1, 2], 3), lambda turn: turn[0])
    ]
    assert names == [[0, 1, 2, 0, 2], [1, 2, 0, 2, 0], [2, 0, 1, 2, 0]]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 9), st.integers(0, 2))
def test_every_round_has_its_samples_and_the_last_come_last(counts: list[int], rounds: int, last: int) -> None:
    closing = range(len(counts), len(counts) + last)
    turns = list(order_samples(counts, rounds, closing))
    assert Counter(turns) == {
        **{(number, index): count for number in range(rounds) for index, count in enumerate(counts)},
        **{(number, index): 1 for number in range(rounds) for index in closing},
    }
    assert [index in closing for _, index in turns] == sorted(index in closing for _, index in turns)
    first = [number for number, index in turns if index not in closing]
    assert first == sorted(first)


def test_what_disturbs_is_sampled_after_everything_else_and_not_in_the_warm_up() -> None:
    time, log = Time(), list[str]()
    profiler = Fake(time, 1.0, log=log, name="profiler")
    outcome = sample_in_rounds(
        [Fake(time, 0.125, log=log)], SamplingPlan(rounds=3, seconds=6.0), last=[profiler], now=time
    )
    assert taken(outcome, 1) == [[1.0]] * 3
    assert log[-3:] == ["profiler"] * 3
    assert "profiler" not in log[:-3]


@pytest.mark.parametrize("after", [3, 5, 23, 40])
def test_ctrl_c_gives_what_was_measured_so_far(after: int) -> None:
    time = Time()
    fake = Fake(time, 0.125)

    def stop(done: float, left: float) -> None:
        if fake.taken == after:
            raise KeyboardInterrupt

    outcome = sample_in_rounds([fake], SamplingPlan(seconds=14.0), progress=stop, now=time)
    assert outcome.interrupted
    kept = [len(samples) for samples in taken(outcome)]
    assert kept == {3: [], 5: [], 23: [15, 3], 40: [15, 15, 5]}[after]


def test_progress_ends_at_one_and_never_goes_back() -> None:
    time, told = Time(), list[tuple[float, float]]()
    sample_in_rounds(
        [Fake(time, 0.125)], SamplingPlan(rounds=2, seconds=4.0), progress=lambda *done: told.append(done), now=time
    )
    assert told[-1] == (1.0, 0.0)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[5][1] == 2 * 15 * 0.125 - 0.125  # after the warm-up what is left is known


def test_a_slow_model_says_how_far_it_is_from_its_first_pass_on() -> None:
    """Passes of 60 s, more than the plan has: from the first on a bar, and at least a pass of each is left."""
    time, told = Time(), list[tuple[float, float]]()

    def tell(done: float, left: float) -> None:
        told.append((time.now, left))

    sample_in_rounds([Fake(time, 60.0), Fake(time, 60.0)], SamplingPlan(seconds=10.0), progress=tell, now=time)
    assert told[0] == (60.0, 60.0 + 2 * 60.0)  # the other's first pass, and a round of both
    assert told[1] == (120.0, 2 * 60.0)
    assert [left for _, left in told] == sorted((left for _, left in told), reverse=True)


class Broken(Fake):
    def prepare(self) -> None:
        if not self.name:
            raise Unmeasurable("It cannot be prepared.")

    def sample(self) -> Sample:
        if self.taken >= 7:
            raise Unmeasurable("It broke.")
        return super().sample()


def test_a_method_that_does_not_work_here_leaves_the_others_alone() -> None:
    time = Time()
    fakes = [Fake(time, 0.125), Broken(time, 0.125, name=""), Broken(time, 0.125)]
    outcome = sample_in_rounds(fakes, SamplingPlan(seconds=14.0), now=time)
    assert {index: str(error) for index, error in outcome.failed.items()} == {
        1: "It cannot be prepared.",
        2: "It broke.",
    }
    assert fakes[1].taken == 0
    assert len(outcome.rounds[0]) == 7
    assert outcome.warmup_passes == 10


@pytest.mark.parametrize(("words", "plan"), [("0 rounds", {"rounds": 0}), ("0 seconds", {"seconds": 0.0})])
def test_a_plan_for_nothing_is_refused(words: str, plan: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=words):
        SamplingPlan(**plan)
