"""What was measured: seconds and bytes of repeated real passes, an overlay on the rows of a profile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from archprof.facts.overlays import RowKey
from archprof.facts.ran import Ran

Method = Literal["cpu", "eager", "gpu", "kernel"]
"""How latency was got: wall clock in hooks; GPU events in hooks, as users run it; GPU events without the gaps of the
launches (a graph, or a filled queue); the sum of the kernels that a profiler saw."""

Difference = Annotated[int, "less than nothing too"]
"""Bytes above what there was before, which a pass may also have given back."""

RESOLUTION_IN_MARKS = 3
"""How many times the cost of a mark a row must take to be told from it."""

MAX_SPREAD = 1.1
"""The greatest of stable rounds by their least."""

MIN_STABLE_ROUNDS = 3
"""With fewer nobody sees whether rounds agree."""


class Timing(NamedTuple):
    """Seconds that one row's own work took.

    Attributes:
        key: the call, by its index, or what belongs to none.
        rounds: the samples, a tuple per round; samples of one round share clock and temperature, rounds do not.
    """

    key: RowKey
    rounds: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> tuple[float, ...]:
        """The median of each round."""
        return tuple(find_median(samples) for samples in self.rounds)

    @property
    def p50(self) -> float:
        """The median of the medians of the rounds."""
        return find_median(self.medians)

    @property
    def p90(self) -> float:
        """The least sample that at least nine of ten samples do not exceed."""
        samples = sorted(sample for samples in self.rounds for sample in samples)
        return samples[math.ceil(0.9 * len(samples)) - 1]

    @property
    def low(self) -> float:
        """The least median of a round. [low, high] of n rounds holds the true median with probability 1 - 2 / 2**n.

        That is 98.4 % for the usual 7 rounds: the median lies outside only if all rounds fall on one side of it.
        """
        return min(self.medians)

    @property
    def high(self) -> float:
        """The greatest median of a round; see `low`."""
        return max(self.medians)

    @property
    def least(self) -> float:
        """The smallest sample: what the work takes when nothing disturbs it."""
        return min(sample for samples in self.rounds for sample in samples)

    @property
    def samples(self) -> int:
        return sum(len(samples) for samples in self.rounds)

    @property
    def stable(self) -> bool:
        """Whether the medians of three rounds or more lie within 10 % of one another."""
        return len(self.rounds) >= MIN_STABLE_ROUNDS and self.high <= MAX_SPREAD * self.low


class Kernel(NamedTuple):
    """One GPU kernel of a layer: how often it ran in one pass, and the seconds of all those runs."""

    name: str
    count: int  # type: ignore[assignment]  # tuples have a method of that name
    seconds: float


class Latency(NamedTuple):
    """What one method found.

    Attributes:
        method: how it was got.
        layers: one per call that ran, own work only.
        rest: what belongs to no call; it closes the sum.
        whole: the model without any marks: the truth that the sum is held against.
        overhead: seconds that one mark costs, already subtracted; `None` where it was not needed.
        kernels: by what they ran for, for the method "kernel".
        notes: what the reader must know to trust these numbers.
        attributed: the rows of `layers` were not timed: the time of compiled kernels was split over them by a rule.
    """

    method: Method
    layers: tuple[Timing, ...]
    rest: tuple[Timing, ...]
    whole: Timing
    overhead: float | None = None
    kernels: dict[RowKey, tuple[Kernel, ...]] = {}  # noqa: RUF012  never changed
    notes: tuple[str, ...] = ()
    attributed: bool = False

    @property
    def resolution(self) -> float:
        """Seconds below which nothing can be told of a row; 0 where no row has marks of its own."""
        return 0.0 if self.attributed else RESOLUTION_IN_MARKS * (self.overhead or 0.0)


class MeasuredMemory(NamedTuple):
    """Bytes that the allocator gave out.

    Attributes:
        key: the call, by its index, or the whole pass.
        allocated_peak: most bytes allocated while the call ran, above what was allocated before the pass.
        reserved_peak: the same of what the caching allocator held; `None` on the CPU, which has none.
    """

    key: RowKey
    allocated_peak: Difference
    reserved_peak: Difference | None = None


@dataclass(frozen=True)
class Measurement:
    """What repeated real passes took.

    Attributes:
        ran: on what, and what else the numbers depend on; nothing of it was changed.
        mode: "forward", or "train": forward, backward and the step of the optimizer.
        latencies: one per method; the first is the headline.
        memory, memory_whole: allocated while each call ran, and at most.
        warmup_passes, warmup_seconds: thrown away before anything was kept.
        first_call_seconds: the first pass of all, which is none of the samples.
        interrupted: the user stopped it; what is here was measured until then.
        notes: what the reader must know to trust the numbers.
    """

    kind: ClassVar[str] = "measured"

    ran: Ran
    mode: str
    latencies: tuple[Latency, ...]
    memory: tuple[MeasuredMemory, ...] = ()
    memory_whole: MeasuredMemory | None = None
    warmup_passes: int = 0
    warmup_seconds: float = 0.0
    first_call_seconds: float | None = None
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def latency(self) -> Latency | None:
        """The headline; `None` when it was stopped before there was one."""
        return self.latencies[0] if self.latencies else None

    @property
    def device_title(self) -> str:
        """What the device calls itself, or else its kind."""
        return self.ran.device_name or self.ran.device

    def calls(self) -> Iterator[int]:
        """Every call that was timed or whose memory was measured, once per method."""
        for keys in self._list_keys():
            yield from (key for key in keys if isinstance(key, int))

    def _list_keys(self) -> list[list[RowKey]]:
        """What the rows are about, by method, and those of memory."""
        return [*([one.key for one in latency.layers] for latency in self.latencies), [one.key for one in self.memory]]

    def check(self) -> None:
        """Raise `ValueError` on the first invariant that does not hold."""
        for keys in self._list_keys():
            if not all(type(key) is int for key in keys):
                raise ValueError("a row of a measurement that is about no call")
            if len(keys) != len(set(keys)):
                raise ValueError("a call was measured twice by one method")
        if not all(isinstance(row.allocated_peak, int) for row in self.memory):
            raise ValueError("a peak of memory that is no number of bytes")
        for latency in self.latencies:
            for timing in (*latency.layers, *latency.rest, latency.whole):
                _check_rounds(timing)


def _check_rounds(timing: Timing) -> None:
    if not timing.rounds or not all(timing.rounds):
        raise ValueError(f"{timing.key} has a round without a sample")
    if not all(math.isfinite(sample) for samples in timing.rounds for sample in samples):
        raise ValueError(f"{timing.key} has a sample that is no number of seconds")


def find_median(samples: Sequence[float]) -> float:
    """The middle one of samples, or the mean of the two in the middle."""
    from statistics import median  # whose import takes as long as that of all facts

    return median(samples)
