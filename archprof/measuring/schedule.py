"""When what is sampled: warm-up until it is stable, then rounds in which all samplers take turns.

Samples of one moment share clock speed, temperature and the load of other programs, so one burst says less than its
number of samples suggests. Hence rounds, in which everything that will be compared is sampled side by side, and in
another order each time.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from archprof.errors import UsageError
from archprof.measuring.protocols import Progress, Sample, Sampler, Unmeasurable

STABLE_SHARE = 0.02
"""The passes are warm when the last `STEADY_PASSES` of them lie within this of their median."""

STEADY_PASSES = 5


@dataclass(frozen=True)
class SamplingPlan:
    """How much is sampled.

    Attributes:
        rounds: 7 give an interval that holds the true median with 98.4 % (see `Timing.low`).
        seconds: all rounds together should not take longer; at the least, every sampler is sampled once.
        min_samples: a round has at least so many of each sampler ...
        round_seconds: ... and of a short pass as many as fill this time ...
        max_samples: ... but never more than this.
        warmup_passes, warmup_seconds: at least so many, and so long, are thrown away ...
        warmup_cap: ... and no longer than this many seconds.
    """

    rounds: int = 7
    seconds: float = 20.0
    min_samples: int = 15
    round_seconds: float = 0.05
    max_samples: int = 100
    warmup_passes: int = 3
    warmup_seconds: float = 0.5
    warmup_cap: float = 5.0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"Nothing can be measured in {self.rounds} rounds.", "1 or more; 7 is usual.")
        if not self.seconds > 0:
            raise UsageError(f"Nothing can be measured in {self.seconds:g} seconds.", "More than 0; 20 is usual.")


@dataclass
class SamplingOutcome:
    """What was sampled.

    Attributes:
        rounds: for each sampler, in the order they were given, its rounds of samples.
        failed: why a sampler could not go on, by its place; its samples are not to be used.
        warmup_passes, warmup_seconds: what was thrown away before.
        interrupted: Ctrl-C was pressed; the last round may be short.
    """

    rounds: list[list[list[Sample]]]
    failed: dict[int, Unmeasurable] = field(default_factory=dict)
    warmup_passes: int = 0
    warmup_seconds: float = 0.0
    interrupted: bool = False


def ignore_progress(done: float, left: float) -> None:
    """Nobody watches."""


def sample_in_rounds(
    samplers: Sequence[Sampler],
    plan: SamplingPlan,
    *,
    last: Sequence[Sampler] = (),
    progress: Progress = ignore_progress,
    now: Callable[[], float] = time.perf_counter,
) -> SamplingOutcome:
    """Prepare all samplers, warm up, and sample them in rounds.

    Args:
        samplers: take turns.
        last: sampled after the rounds of the others, once per round.
        progress: told after every sample.
        now: seconds, for planning; what is measured comes from the samplers.
    """
    turns = _Turns([*samplers, *last], plan, progress, now)
    try:
        turns.prepare()
        _warm_up(turns, len(samplers))
        _sample_rounds(turns, len(samplers))
    except KeyboardInterrupt:
        turns.outcome.interrupted = True
    return turns.outcome


class _Turns:
    """Takes samples, and keeps what each took last, which plans the rest."""

    def __init__(
        self, samplers: Sequence[Sampler], plan: SamplingPlan, progress: Progress, now: Callable[[], float]
    ) -> None:
        self.samplers, self.plan, self.progress, self.now = samplers, plan, progress, now
        self.outcome = SamplingOutcome([[] for _ in samplers])
        self.last_seconds = [0.0] * len(samplers)
        self.started = now()

    def prepare(self) -> None:
        for index, sampler in enumerate(self.samplers):
            with self._drop_on_failure(index):
                sampler.prepare()

    def take_sample(self, index: int) -> Sample | None:
        """One sample; `None` where the sampler cannot go on."""
        if index in self.outcome.failed:
            return None
        start = self.now()
        with self._drop_on_failure(index):
            sample = self.samplers[index].sample()
            self.last_seconds[index] = self.now() - start
            return sample
        return None

    @contextmanager
    def _drop_on_failure(self, index: int) -> Iterator[None]:
        try:
            yield
        except Unmeasurable as error:
            self.outcome.failed[index] = error
            self.last_seconds[index] = 0.0

    def report_progress(self, left: float) -> None:
        elapsed = self.now() - self.started
        self.progress(elapsed / (elapsed + left) if elapsed + left > 0 else 1.0, left)


def _warm_up(turns: _Turns, rotating: int) -> None:
    """Take turns until they are steady, at most `warmup_cap` or a quarter of the time there is."""
    plan, start, took = turns.plan, turns.now(), list[float]()
    cap = min(plan.warmup_cap, plan.seconds / 4)
    while True:
        samples = []
        for index in range(rotating):
            samples.append(turns.take_sample(index))
            turns.report_progress(_estimate_left(turns, rotating, cap))
        took.append(sum(turns.last_seconds))
        elapsed = turns.now() - start
        turns.outcome.warmup_passes += sum(sample is not None for sample in samples)
        turns.outcome.warmup_seconds = elapsed
        enough = len(took) >= plan.warmup_passes and elapsed >= plan.warmup_seconds
        if elapsed >= cap or (enough and _is_steady(took)):
            return


def _estimate_left(turns: _Turns, rotating: int, cap: float) -> float:
    """Seconds of what is left of the warm-up and of the rounds: at least one pass of each sampler, however long."""
    known = [seconds for seconds in turns.last_seconds[:rotating] if seconds]
    elapsed, turn = turns.now() - turns.started, max(known, default=0.0) * rotating
    return max(turns.plan.seconds, turn) + max(0.0, cap - elapsed, turn - sum(known))


def _is_steady(took: Sequence[float]) -> bool:
    recent = took[-STEADY_PASSES:]
    middle = statistics.median(recent)
    return len(recent) == STEADY_PASSES and all(abs(seconds - middle) <= STABLE_SHARE * middle for seconds in recent)


def _sample_rounds(turns: _Turns, rotating: int) -> None:
    plan, costs, kept = turns.plan, turns.last_seconds[:rotating], turns.outcome.rounds
    share = plan.seconds / plan.rounds / rotating  # of one sampler in one round
    counts = [_count_samples(cost, share, plan) for cost in costs]
    rounds = max(1, min(plan.rounds, int(plan.seconds / (sum(costs) or plan.seconds / plan.rounds))))
    order = list(order_samples(counts, rounds, range(rotating, len(turns.samplers))))
    left = sum(turns.last_seconds[index] for _, index in order)
    for number, index in order:
        left = max(0.0, left - turns.last_seconds[index])
        sample = turns.take_sample(index)
        if sample is not None:
            if len(kept[index]) <= number:
                kept[index].append([])
            kept[index][number].append(sample)
        turns.report_progress(left)


def _count_samples(cost: float, share: float, plan: SamplingPlan) -> int:
    """How many samples a round has of a sampler that takes `cost` seconds and may take `share` in all."""
    wanted = max(plan.min_samples, math.ceil(plan.round_seconds / cost)) if cost > 0 else plan.max_samples
    affordable = int(share / cost) if cost > 0 else plan.max_samples
    return max(1, min(wanted, plan.max_samples, affordable))


def order_samples(counts: Sequence[int], rounds: int, last: Iterable[int] = ()) -> Iterator[tuple[int, int]]:
    """Which sampler is next, as (round, index): in a round they alternate until each has its count of samples.

    The order shifts by one from round to round. Those in `last` follow after all rounds, once per round.
    """
    for number in range(rounds):
        order = [(index + number) % len(counts) for index in range(len(counts))]
        for turn in range(max(counts)):
            yield from ((number, index) for index in order if turn < counts[index])
    yield from ((number, index) for number in range(rounds) for index in last)
