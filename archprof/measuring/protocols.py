"""What measuring needs of the world: small protocols, so that tests can bring a clock and a device of their own.

A method of measuring (hooks with a wall clock, a captured graph, a profiler) is one `MeasuredWay`: a `Sampler` that
tells the seconds of every row of one pass, and one that tells those of the whole without any marks. `sample_in_rounds`
calls them in turn; `build_latency` makes the records of what they returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from archprof.errors import ArchprofError
from archprof.facts.measured import Kernel, MeasuredMemory, Method
from archprof.facts.overlays import Outside
from archprof.facts.overlays import RowKey as OverlayKey
from archprof.facts.records import Profile, Ran

if TYPE_CHECKING:
    from archprof.measuring.live_model import LiveModel

CallKey = tuple[str, int]
"""A call by path and number."""

RowKey = CallKey | Outside | int
"""A call, what belongs to none, or a kernel of compiled code by its number, until its time is split."""

Sample = Mapping[RowKey, float]
"""Seconds of one pass: own work, by row. A row that a sample leaves out took no time in it."""


def number_rows(profile: Profile) -> dict[RowKey, OverlayKey]:
    """What an overlay calls each row: the index of its call, or what belongs to none."""
    calls = list_called_rows(profile)
    return {**{one: one for one in Outside}, **{row: index for index, row in enumerate(calls)}}


def list_called_rows(profile: Profile) -> tuple[CallKey, ...]:
    """The rows that were called, in the order of the calls."""
    return tuple((profile.modules[call.module].path, call.number) for call in profile.calls)


Progress = Callable[[float, float], None]
"""Called with the fraction done, 0 to 1, and the seconds that are left."""


class Unmeasurable(ArchprofError):
    """Raised by a sampler whose method does not work here: its way is dropped, and a note says why."""


class Marker(Protocol):
    """Marks the borders of a pass. A handle is anything; only who made it reads it."""

    def mark(self) -> Any:
        """This moment, or the moment at which the device gets here. Called in hooks: it must be cheap."""


class Clock(Marker, Protocol):
    """Marks points in time."""

    def settle(self) -> None:
        """After a pass: wait until the device has passed every mark, so that `seconds` can be asked."""

    def seconds(self, start: Any, end: Any) -> float:
        """The time from one mark to a later one."""


class Sampler(Protocol):
    """One thing to be timed, pass by pass."""

    def prepare(self) -> None:
        """Called once, before the warm-up: capture a graph, calibrate."""

    def sample(self) -> Sample:
        """One pass: the seconds of every row, or of the whole alone. It leaves no hooks behind."""


@dataclass
class MeasuredWay:
    """One method: the rows, the whole that their sum is held against, and what became known on the way.

    Attributes:
        method: names the latency that comes of it.
        row_sampler: samples the rows; one that it is wrong to time (a container without work) is not in the sample.
            `None`: this way cannot tell rows apart (a compiled model may be so); `notes` say why.
        whole_sampler: samples `Outside.WHOLE`, without marks. Several ways may share one object, sampled once per turn.
        attributed: the rows were not timed; what was, was split over them by a rule.
        sampled_last: sampled once per round, after all rounds of the others, which it would disturb (a profiler).
        overhead: seconds of one mark, which `rows` has subtracted.
        kernels: by row; set while sampling.
        notes: what the reader must know; added to while measuring.
    """

    method: Method
    row_sampler: Sampler | None
    whole_sampler: Sampler
    attributed: bool = False
    sampled_last: bool = False
    overhead: float | None = None
    kernels: dict[RowKey, tuple[Kernel, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PassMemory:
    """What the passes of one subject allocated: by row, and over all."""

    rows: tuple[MeasuredMemory, ...]
    whole: MeasuredMemory | None
    notes: tuple[str, ...] = ()


class Device(Protocol):
    """Where passes run: "cpu" or "cuda".

    Attributes:
        kind: as the user says it, and as `torch.device` takes it.
        name: what the device calls itself.
        raises_when_full: an allocation that does not fit raises; elsewhere the system may end the program instead.
    """

    kind: str
    raises_when_full: bool

    @property
    def name(self) -> str: ...

    def clock(self) -> Clock: ...

    def synchronize(self) -> None:
        """Wait for all work that was given to the device."""

    def hold_settings(self) -> AbstractContextManager[None]:
        """Measuring happens inside: what it fixes (threads) is put back after."""

    def make_ways(self, subject: LiveModel, profile: Profile) -> list[MeasuredWay]:
        """The methods of this device for this subject, the headline first."""

    def measure_memory(self, subject: LiveModel, profile: Profile) -> PassMemory:
        """What each row's call allocated at most, from passes of its own."""

    def free_bytes(self) -> int | None:
        """What could still be allocated; `None` when the device does not tell."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception says that the device's memory is full."""

    def release_cache(self) -> None:
        """Give cached memory back, after a pass that did not fit."""

    def environment(self) -> Ran:
        """What the numbers depend on: asked within `settings`, changes nothing."""
