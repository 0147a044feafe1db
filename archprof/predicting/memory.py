"""How much memory a run takes: what its tensors hold, what the allocator gives out and reserves, what the device lends.

    live <= allocated <= reserved <= device used

*Live* is counted. *Allocated* adds the rounding of blocks and the workspaces of libraries, *reserved* is the sum of the
allocator's segments, both by replaying three steps. *Device used* adds the context of CUDA and its libraries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from archprof.facts.records import Phase, Profile, Storage
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.allocator import Allocator
from archprof.predicting.allocator_blocks import Block
from archprof.predicting.memory_events import Change, Workspaces, is_on_host, list_changes
from archprof.predicting.memory_room import find_least_room
from archprof.predicting.size_limits import Refusal, find_refusal

Category = Literal[
    "weights", "buffers", "constants", "inputs", "gradients", "optimizer state", "activations kept for backward",
    "activations and temporaries", "gathered parameters", "communication buffers", "workspaces", "allocator slack",
    "context",
]  # fmt: skip

CATEGORY_OF_ROLE: Mapping[str, Category] = {
    "parameter": "weights", "buffer": "buffers", "constant": "constants", "input": "inputs", "gradient": "gradients",
    "optimizer state": "optimizer state", "carried": "constants", "communication": "communication buffers",
    "gathered": "gathered parameters",
}  # fmt: skip

MIB = 1 << 20
STEPS = 3

ALLOCATED_SHARES = (0.98, 1.01)
RESERVED_SHARES = (0.94, 1.10)
"""Between which the measured value lies in nine of ten models of PePR, as shares of the predicted one."""

ROOM_SHARES = (0.99, 1.04)
"""The same for the least room in which a run goes through, by what is allocated and what is lost between blocks."""

CONTEXT_BYTES = 1_650 * MIB
CONTEXT_RANGE = (300 * MIB, 2_200 * MIB)
"""What CUDA and its libraries take: seen on an A100 beside timm's training script, and from lazy to eager loading."""

LAZY_CONTEXT_BYTES = 500 * MIB
"""The same where kernels are loaded as they are needed, which torch 1.13 and later ask CUDA for: 300 to 600 MiB."""


class Estimate(NamedTuple):
    """A value in bytes and between what it lies; `high` is `None` where ops are unknown: it may be any more."""

    value: int
    low: int
    high: int | None


class Moment(NamedTuple):
    """What is in memory at the peak of a phase, in the steady state.

    Attributes:
        phase: "forward", "backward" or "optimizer".
        op: index of the op that ran; `None`: of a pass without any.
        allocated, reserved: by the allocator.
        categories: bytes by category; with the slack, they sum to what is reserved.
    """

    phase: Phase
    op: int | None
    allocated: int
    reserved: int
    categories: Mapping[Category, int]


@dataclass(frozen=True)
class MemoryPrediction:
    """The four peaks, and what they are made of.

    Attributes:
        live_peak_bytes, allocated_peak_bytes, reserved_peak_bytes, device_used_bytes: over a run of several steps.
        peak: the moment at which most is allocated.
        phases: the peak of each phase.
        timeline: allocated bytes, the most while each op of a later step runs.
        before_step: allocated before a later step, with its inputs.
        first_step_peak: allocated in the first step of the optimizer's run; `None` without one.
        profile, workspaces: what was replayed.
    """

    live_peak_bytes: Estimate
    allocated_peak_bytes: Estimate
    reserved_peak_bytes: Estimate
    device_used_bytes: Estimate
    peak: Moment
    phases: tuple[Moment, ...]
    timeline: tuple[int, ...]
    before_step: int
    first_step_peak: int | None
    profile: Profile = field(repr=False, compare=False)
    workspaces: Workspaces = field(repr=False, compare=False)

    @cached_property
    def refusal(self) -> Refusal | None:
        """An op that no GPU runs at its size; `None`: none is known."""
        return find_refusal(self.profile)

    @cached_property
    def needed_bytes(self) -> Estimate:
        """The least memory of a device in which the run goes through, with the context: whether it fits."""
        return self.find_needed()

    def find_needed(self, capacity: int | None = None) -> Estimate:
        """The same, no more than `capacity` exactly where the run goes through in so many bytes."""
        peaks = self.live_peak_bytes.value, self.reserved_peak_bytes.value
        changes = list_changes(self.profile, self.workspaces, STEPS)
        room = find_least_room(changes, *peaks, None if capacity is None else capacity - LAZY_CONTEXT_BYTES)
        low, high = (int(room * share) + size for share, size in zip(ROOM_SHARES, CONTEXT_RANGE, strict=True))
        return Estimate(room + LAZY_CONTEXT_BYTES, low, high if self.profile.totals.complete else None)

    @property
    def needed_categories(self) -> Mapping[Category, int]:
        """What fills the peak, with the context of `needed_bytes`."""
        return {**self.peak.categories, "context": LAZY_CONTEXT_BYTES}


def predict_memory(profile: Profile, workspaces: Workspaces) -> MemoryPrediction:
    """Replay the pass of a profile, or its training steps."""
    replay = _Replay(profile, workspaces)
    replay.run()
    phases = tuple([replay.describe(phase) for phase in ("forward", "backward", "optimizer") if phase in replay.peaks])
    peak = max(phases, key=lambda moment: moment.allocated)
    live = sum_step_bytes(profile, build_step(profile))
    whole = profile.totals.complete
    allocated, reserved = replay.allocator.peak_allocated, replay.allocator.peak_reserved
    return MemoryPrediction(
        Estimate(max(live), max(live), max(live) if whole else None),
        _estimate(allocated, ALLOCATED_SHARES, whole),
        _estimate(reserved, RESERVED_SHARES, whole),
        _estimate_device(reserved, whole),
        peak._replace(categories=_with_context(peak.categories, reserved - peak.reserved)),
        phases,
        tuple(replay.timeline),
        replay.before_step,
        replay.first_step_peak if profile.training else None,
        profile,
        workspaces,
    )


def _estimate(value: int, shares: tuple[float, float], whole: bool) -> Estimate:
    return Estimate(value, int(value * shares[0]), int(value * shares[1]) if whole else None)


def _estimate_device(reserved: int, whole: bool) -> Estimate:
    low, high = (int(reserved * share) + context for share, context in zip(RESERVED_SHARES, CONTEXT_RANGE, strict=True))
    return Estimate(reserved + CONTEXT_BYTES, low, high if whole else None)


def _with_context(categories: Mapping[Category, int], later: int) -> dict[Category, int]:
    """The parts of what the device has used, with what is reserved at another moment."""
    slack = categories.get("allocator slack", 0) + later
    return {**categories, "allocator slack": slack, "context": CONTEXT_BYTES}


class _Peak(NamedTuple):
    allocated: int
    reserved: int
    workspaces: int
    position: int


class _Replay:
    """The allocator over some steps, and what it held at the peaks of the last of them."""

    def __init__(self, profile: Profile, workspaces: Workspaces) -> None:
        self.profile, self.workspaces = profile, workspaces
        self.allocator = Allocator()
        self.step = build_step(profile)
        self.timeline = [0] * max(len(self.step.ops), 1)
        self.peaks: dict[Phase, _Peak] = {}
        self.left: dict[int, int] = {}  # allocated after an op, where it freed something
        self.before_step = self.first_step_peak = 0

    def run(self) -> None:
        blocks: dict[int, Block] = {}
        lent: dict[int, int] = {}  # of workspaces: bytes by block
        for change in list_changes(self.profile, self.workspaces, STEPS):
            if change.nbytes is not None:
                blocks[change.block] = self.allocator.allocate(change.nbytes)
                if change.is_workspace:
                    lent[change.block] = change.nbytes
                self._note(change, sum(lent.values()))
            elif change.block in blocks:
                self.allocator.free(blocks.pop(change.block))
                lent.pop(change.block, None)
                self.left[max(change.position, 0)] = self.allocator.allocated
            if change.position < 0 or change.step < STEPS - 1:
                self.before_step = self.allocator.allocated
        if not self.peaks:  # a step that allocates nothing holds what was there before it
            self._note_peak(0, self.allocator.allocated, 0)
        self._fill_timeline()

    def _fill_timeline(self) -> None:
        """While an op that allocates nothing runs, there is what the one before it left."""
        before = self.timeline[0]
        for position, noted in enumerate(self.timeline):
            self.timeline[position] = max(noted, before)
            before = self.left.get(position, self.timeline[position])

    def _note(self, change: Change, lent: int) -> None:
        allocated = self.allocator.allocated
        if change.step == 0:
            self.first_step_peak = max(self.first_step_peak, allocated)
        if change.step < STEPS - 1:
            return
        self._note_peak(max(change.position, 0), allocated, lent)

    def _note_peak(self, position: int, allocated: int, lent: int) -> None:
        self.timeline[position] = max(self.timeline[position], allocated)
        phase = self._phase_of(position)
        if phase not in self.peaks or allocated > self.peaks[phase].allocated:
            self.peaks[phase] = _Peak(allocated, self.allocator.reserved, lent, position)

    def _phase_of(self, position: int) -> Phase:
        return self.profile.ops[self.step.ops[position]].phase if self.step.ops else "forward"

    def describe(self, phase: Phase) -> Moment:
        """The parts of what was reserved at the peak of a phase."""
        peak = self.peaks[phase]
        sizes: Counter[Category] = Counter()
        for life in self.step.lives:
            storage = self.profile.storages[life.storage]
            if life.first <= peak.position <= life.last and not is_on_host(storage):
                sizes[categorize(storage)] += storage.nbytes
        sizes["workspaces"] = peak.workspaces
        sizes["allocator slack"] = peak.reserved - sum(sizes.values())
        op = self.step.ops[peak.position] if self.step.ops else None
        return Moment(phase, op, peak.allocated, peak.reserved, dict(sizes))


def categorize(storage: Storage) -> Category:
    """What a storage is for, in the words of the answer."""
    known = "constants" if storage.lasts else CATEGORY_OF_ROLE.get(storage.role)
    if known is not None:
        return known
    return "activations kept for backward" if storage.saved else "activations and temporaries"
