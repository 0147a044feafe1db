"""One measurement of one subject, from its first call to the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.facts.measured import Latency, Measurement
from archprof.facts.records import Profile, Ran
from archprof.measuring import schedule
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource
from archprof.measuring.protocols import Device, MeasuredWay, PassMemory, Progress, Sample, Sampler
from archprof.measuring.schedule import SamplingOutcome, SamplingPlan
from archprof.measuring.to_latency import build_latency

FAST_PATH_NOTE = (
    "Without marks, torch runs each TransformerEncoderLayer here as one fused op; with marks it runs its parts, as the "
    "rows show them. The whole is the fused one: (unattributed) holds the difference."
)

INNER_GRADIENTS_NOTE = (
    "What the forward computes of gradients is in the time of the module that asks for them, and in the counts of the "
    "layers that they belong to."
)


class MeasurementSession:
    """One measurement: what is known so far is in its attributes, since Ctrl-C may end it anywhere."""

    def __init__(self, where: Device, profile: Profile, plan: SamplingPlan, progress: Progress) -> None:
        self.device, self.profile, self.plan, self.progress = where, profile, plan, progress
        self.first_call_seconds: float | None = None
        self.ways: list[MeasuredWay] = []
        self.samplers: list[Sampler] = []
        self.outcome = SamplingOutcome([])
        self.memory = PassMemory((), None)
        self.notes: list[str] = []
        self.interrupted = self.compiled = False

    def run(self, make: Callable[[], LiveModel]) -> None:
        try:
            subject = make()
            self.compiled = bool(subject.compiled)
            self.first_call_seconds = self._time_first_call(subject)
            self.notes += subject.notes
            if self.profile.ran.gradients:
                self.notes.append(INNER_GRADIENTS_NOTE)
            gradients = subject.train or subject.gradients
            if not subject.compiled and not gradients and _fuses_encoders(subject.model):
                self.notes.append(FAST_PATH_NOTE)
            self.ways = self.device.make_ways(subject, self.profile)
            self._sample_ways()
            if not self.interrupted:
                self.memory = self.device.measure_memory(subject, self.profile)
        except KeyboardInterrupt:
            self.interrupted = True

    def _time_first_call(self, subject: LiveModel) -> float:
        try:
            return EagerSource(subject, None, self.device.clock()).run_bare()
        except ArchprofError:
            raise
        except Exception as error:
            if self.device.is_out_of_memory(error):
                raise
            raise ArchprofError(
                f"{self.profile.model} does not run on the {self.device.kind} in {self.profile.dtype}.",
                f"{type(error).__name__}: {error}",
            ) from error

    def _sample_ways(self) -> None:
        """Every sampler once, although ways may share one; those of the last ways apart."""
        first = [
            sampler for way in self.ways if not way.sampled_last for sampler in (way.whole_sampler, way.row_sampler)
        ]
        last = [way.row_sampler for way in self.ways if way.sampled_last]
        turns, closing = _distinct(first), _distinct(last)
        self.samplers = turns + closing
        self.outcome = schedule.sample_in_rounds(turns, self.plan, last=closing, progress=self.progress)
        self.interrupted = self.outcome.interrupted

    def build_measurement(self) -> Measurement:
        """What is known so far."""
        found = [self._build_latency(way) for way in self.ways]
        failed = [str(error) for error in self.outcome.failed.values()]
        return Measurement(
            ran=self._describe_run(),
            mode=self.profile.mode,
            latencies=tuple(latency for latency in found if latency is not None),
            memory=self.memory.rows,
            memory_whole=self.memory.whole,
            warmup_passes=self.outcome.warmup_passes,
            warmup_seconds=self.outcome.warmup_seconds,
            first_call_seconds=self.first_call_seconds,
            interrupted=self.interrupted,
            notes=(*self.notes, *failed, *self.memory.notes),
        )

    def _describe_run(self) -> Ran:
        device = self.device
        return replace(
            device.environment(),
            device=device.kind,
            device_name=device.name,
            dtype=self.profile.dtype,
            autocast=self.profile.ran.autocast,
            compiled=self.compiled,
        )

    def _build_latency(self, way: MeasuredWay) -> Latency | None:
        whole = self._find_rounds(way.whole_sampler)
        rows = self._find_rounds(way.row_sampler) if way.row_sampler is not None else None
        return build_latency(way, whole, rows, self.profile, self.plan)

    def _find_rounds(self, sampler: Sampler) -> list[list[Sample]]:
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
