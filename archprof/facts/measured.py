"""What was measured: seconds and bytes of repeated real passes, an overlay on the rows of a profile."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Method = Literal["cpu", "eager", "gpu", "kernel"]
"""How latency was got: wall clock in hooks; GPU events in hooks, as users run it; GPU events without the gaps of the
launches (a graph, or a filled queue); the sum of the kernels that a profiler saw."""


class Timing(NamedTuple):
    """Seconds that one row's own work took.

    Attributes:
        path, call: of its layer; a row that is no layer has a path in parentheses and no call.
        rounds: the samples, a tuple a round; samples of one round share clock and temperature, rounds do not.
    """

    path: str
    call: int | None
    rounds: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> tuple[float, ...]:
        """The median of each round."""
        return tuple(statistics.median(samples) for samples in self.rounds)

    @property
    def p50(self) -> float:
        """The median of the medians of the rounds."""
        return statistics.median(self.medians)

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
        return len(self.rounds) >= 3 and self.high <= 1.1 * self.low


class Kernel(NamedTuple):
    """One GPU kernel of a layer: how often it ran in one pass, and the seconds of all those runs."""

    name: str
    count: int  # type: ignore[assignment]  # tuples have a method of that name
    seconds: float


class Latency(NamedTuple):
    """What one method found.

    Attributes:
        method: how it was got.
        layers: one a called row of `Profile.layers`, own work only.
        rest: what belongs to no row: "(between layers)", "(outside modules)", "(optimizer step)",
            "(gradient accumulation)", "(unattributed)"; it closes the sum.
        whole: the model without any marks: the truth that the sum is held against.
        overhead: seconds that one mark costs, already subtracted; `None` where it was not needed.
        kernels: by "path#call", for the method "kernel".
        notes: what the reader must know to trust these numbers.
        attributed: the rows of `layers` were not timed: the time of compiled kernels was split over them by a rule.
    """

    method: Method
    layers: tuple[Timing, ...]
    rest: tuple[Timing, ...]
    whole: Timing
    overhead: float | None = None
    kernels: dict[str, tuple[Kernel, ...]] = {}  # noqa: RUF012  never changed
    notes: tuple[str, ...] = ()
    attributed: bool = False


class MeasuredMemory(NamedTuple):
    """Bytes that the allocator gave out.

    Attributes:
        path, call: of the layer; "(whole)" for the pass.
        allocated_peak: most bytes allocated while the call ran, above what was allocated before the pass.
        reserved_peak: the same of what the caching allocator held; `None` on the CPU, which has none.
    """

    path: str
    call: int | None
    allocated_peak: int
    reserved_peak: int | None = None


@dataclass(frozen=True)
class Measurement:
    """What repeated real passes took.

    Attributes:
        device, device_name: "cpu" or "cuda", and what it calls itself.
        mode: "forward", or "train": forward, backward and the step of the optimizer.
        latencies: one a method; the first is the headline.
        memory, memory_whole: allocated while each call ran, and at most.
        warmup_passes, warmup_seconds: thrown away before anything was kept.
        first_call_seconds: the first pass of all, which is none of the samples.
        interrupted: the user stopped it; what is here was measured until then.
        environment: what the numbers depend on: threads, clocks, versions, settings; nothing of it was changed.
        notes: what the reader must know to trust the numbers.
    """

    device: str
    device_name: str
    mode: str
    latencies: tuple[Latency, ...]
    memory: tuple[MeasuredMemory, ...] = ()
    memory_whole: MeasuredMemory | None = None
    warmup_passes: int = 0
    warmup_seconds: float = 0.0
    first_call_seconds: float | None = None
    interrupted: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def latency(self) -> Latency | None:
        """The headline; `None` when it was stopped before there was one."""
        return self.latencies[0] if self.latencies else None
