"""One measurement of one subject, from its first call to the records."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.facts.measured import Latency, Measurement
from archprof.facts.records import Profile
from archprof.measuring import schedule
from archprof.measuring.live_model import Subject
from archprof.measuring.passes import Whole
from archprof.measuring.protocols import WHOLE, Device, Memory, Progress, Sample, Sampler, Way
from archprof.measuring.schedule import Outcome, Plan
from archprof.measuring.to_latency import latency

FAST_PATH_NOTE = (
    "Without marks, torch runs each TransformerEncoderLayer here as one fused op; with marks it runs its parts, as the "
    "rows show them. The whole is the fused one: (unattributed) holds the difference."
)


class Session:
    """One measurement: what is known so far is in its attributes, since Ctrl-C may end it anywhere."""

    def __init__(self, where: Device, profile: Profile, plan: Plan, progress: Progress) -> None:
        self.where, self.profile, self.plan, self.progress = where, profile, plan, progress
        self.first_call: float | None = None
        self.ways: list[Way] = []
        self.samplers: list[Sampler] = []
        self.outcome = Outcome([])
        self.memory = Memory((), None)
        self.notes: list[str] = []
        self.interrupted = False

    def run(self, make: Callable[[], Subject]) -> None:
        try:
            subject = make()
            self.first_call = self._first_call(subject)
            self.notes += subject.notes
            if not subject.compiled and not subject.train and _fuses_encoders(subject.model):
                self.notes.append(FAST_PATH_NOTE)
            self.ways = self.where.ways(subject, self.profile)
            self._sample()
            if not self.interrupted:
                self.memory = self.where.memory(subject, self.profile)
        except KeyboardInterrupt:
            self.interrupted = True

    def _first_call(self, subject: Subject) -> float:
        try:
            return Whole(subject, self.where.clock()).sample()[WHOLE]
        except ArchprofError:
            raise
        except Exception as error:
            if self.where.is_out_of_memory(error):
                raise
            raise ArchprofError(
                f"{self.profile.model} does not run on the {self.where.kind} in {self.profile.dtype}.",
                f"{type(error).__name__}: {error}",
            ) from error

    def _sample(self) -> None:
        """Every sampler once, although ways may share one; those of the last ways apart."""
        first = [sampler for way in self.ways if not way.last for sampler in (way.whole, way.rows)]
        last = [way.rows for way in self.ways if way.last]
        turns, closing = _distinct(first), _distinct(last)
        self.samplers = turns + closing
        self.outcome = schedule.run(turns, self.plan, last=closing, progress=self.progress)
        self.interrupted = self.outcome.interrupted

    def measurement(self) -> Measurement:
        """What is known so far."""
        found = [self._latency(way) for way in self.ways]
        failed = [str(error) for error in self.outcome.failed.values()]
        return Measurement(
            device=self.where.kind,
            device_name=self.where.name,
            mode=self.profile.mode,
            latencies=tuple(latency for latency in found if latency is not None),
            memory=self.memory.rows,
            memory_whole=self.memory.whole,
            warmup_passes=self.outcome.warmup_passes,
            warmup_seconds=self.outcome.warmup_seconds,
            first_call_seconds=self.first_call,
            interrupted=self.interrupted,
            environment=self.where.environment(),
            notes=(*self.notes, *failed, *self.memory.notes),
        )

    def _latency(self, way: Way) -> Latency | None:
        whole, rows = self._rounds(way.whole), self._rounds(way.rows) if way.rows is not None else None
        return latency(way, whole, rows, self.profile, self.plan)

    def _rounds(self, sampler: Sampler) -> list[list[Sample]]:
        """What was sampled; nothing of a sampler that was never reached, or that failed."""
        known = dict(zip(map(id, self.samplers), self.outcome.rounds, strict=False))
        failed = {id(self.samplers[index]) for index in self.outcome.failed}
        return [] if id(sampler) in failed else known.get(id(sampler), [])


def _distinct(samplers: list[Sampler | None]) -> list[Sampler]:
    return list({id(sampler): sampler for sampler in samplers if sampler is not None}.values())


def _fuses_encoders(model: nn.Module) -> bool:
    """Whether torch would run an encoder layer as one op, which it does not while there are hooks."""
    return torch.backends.mha.get_fastpath_enabled() and any(
        isinstance(module, nn.TransformerEncoderLayer) and module.training is False for module in model.modules()
    )
