"""From a target to a measured profile: the counted rows of one trace, with what repeated real passes took."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from archprof import files
from archprof.errors import DoesNotFit, UsageError
from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.measured import Measurement
from archprof.facts.needed_bytes import count_needed_bytes
from archprof.facts.records import Profile
from archprof.facts.request import ON_CPU, PLAIN_PASS, MeasureRequest, PassRequest
from archprof.measuring import schedule
from archprof.measuring.batch_search import CountedSearch, search_largest_batch
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource
from archprof.measuring.protocols import Device, Progress
from archprof.measuring.schedule import SamplingPlan
from archprof.measuring.session import MeasurementSession
from archprof.sources.inputs import find_input_specs
from archprof.sources.resolve import resolve
from archprof.sources.target import Target
from archprof.torchside.free_memory import has_room
from archprof.torchside.guard import run_untouched
from archprof.torchside.outside_state import keep_outside_state
from archprof.torchside.watched_model import watch_unless_owned
from archprof.tracing.trace import trace
from archprof.units import show_quantity


def _open_cpu() -> Device:
    from archprof.measuring.cpu import CpuDevice

    return CpuDevice()


def _open_cuda() -> Device:
    from archprof.measuring.cuda import CudaDevice

    return CudaDevice()


DEVICE_CLASSES: dict[str, Callable[[], Device]] = {"cpu": _open_cpu, "cuda": _open_cuda}


def measure_model(
    model: Any,
    inputs: Any = None,
    request: PassRequest = PLAIN_PASS,
    how: MeasureRequest = ON_CPU,
    progress: Progress | None = None,
) -> Profile:
    """The measured profile of what `archprof.measure` takes; what it raises stands there."""
    if files.is_profile_path(model):
        raise UsageError(f"{model} is a saved profile: there is nothing to run.", hint="Name the model itself.")
    if counted := request.list_sequence_changes():
        names = ", ".join(f"--{name}" for name in counted)
        raise UsageError(f"{names} cannot be measured.", "Settings and phases of hf: models are counted.")
    return measure_target(resolve(model, inputs, request), request, how, progress)


def measure_target(
    target: Target, request: PassRequest = PLAIN_PASS, how: MeasureRequest = ON_CPU, progress: Progress | None = None
) -> Profile:
    """Trace `target`, then run it: the counted profile, with its measurement.

    Ctrl-C ends it early: the profile then holds what was measured so far.

    Args:
        progress: told the fraction done and the seconds that are left.

    Raises:
        DoesNotFit: the device has too little memory for this batch.
        UsageError: the largest batch was asked for, and there is nothing to vary.
        ArchprofError: the model does not run on the device.
        TraceError: its forward fails even without values.
    """
    if target.decoding is not None and target.decoding.phase == "decode":
        raise UsageError(
            f"One step of decoding {target.name} cannot be repeated: its cache grows with every pass.",
            "Allowed: the prefill phase, or no phase.",
        )
    plan = SamplingPlan(rounds=how.rounds, seconds=how.seconds)
    where = DEVICE_CLASSES[how.device]()
    request = dataclasses.replace(request, amp_device=where.kind)
    bench = _DeviceBench(target, where, request, how)
    generators = [torch.cuda.current_device()] if where.kind == "cuda" else []

    def run() -> Profile:
        kept = keep_outside_state(target.model, target.owned)
        with kept, torch.inference_mode(False), torch.random.fork_rng(devices=generators), where.hold_settings():
            batch, notes = bench.find_largest_batch() if how.largest_batch else (request.batch, ())
            return bench.measure_batch(batch, plan, progress or schedule.ignore_progress, notes)

    watched = watch_unless_owned(target.model, target.owned)
    profile = run_untouched(run)
    if watched is not None:
        watched.check_unchanged()
    return profile


@dataclasses.dataclass(frozen=True)
class _DeviceBench:
    """One target on one device, with everything that is the same for every batch."""

    target: Target
    device: Device
    request: PassRequest
    how: MeasureRequest

    def measure_batch(self, batch: int, plan: SamplingPlan, progress: Progress, notes: tuple[str, ...]) -> Profile:
        profile = self._trace_batch(batch)
        if why := self._why_no_room(profile):
            raise self._make_too_large_error(batch, why)
        measurement = self._measure_if_it_fits(profile, plan, progress)
        if measurement is None:  # by now the tensors of the pass are gone
            self.device.release_cache()
            raise self._make_too_large_error(batch)
        measurement = dataclasses.replace(measurement, notes=(*notes, *measurement.notes))
        return dataclasses.replace(profile, overlays=(*profile.overlays, measurement))

    def _measure_if_it_fits(self, profile: Profile, plan: SamplingPlan, progress: Progress) -> Measurement | None:
        """The measurement; `None` where the device's memory was full."""
        session = MeasurementSession(self.device, profile, plan, progress)
        try:
            session.run(lambda: self._make_live_model(profile))
        except Exception as error:
            if self.device.is_out_of_memory(error):
                return None
            raise
        return session.build_measurement()

    def find_largest_batch(self) -> tuple[int, tuple[str, ...]]:
        """The largest batch of which one pass fits, and what the reader must know of it."""
        if not any(spec.batched for spec in find_input_specs([*self.target.args, *self.target.kwargs.values()])):
            raise UsageError(
                f"No batch can be found for {self.target.name}: every input has its exact shape.",
                "The batch is put in front of inputs written without it: 3x224x224.",
            )
        search = CountedSearch(self.how.seconds)
        found = search_largest_batch(partial(self._fits, search))
        if found is None:
            raise self._make_too_large_error(1)
        return found, search.list_notes()

    def _fits(self, search: CountedSearch, batch: int) -> bool:
        """Whether there is room for the counted bytes or, where the device itself says so, for a real pass."""
        if not self.device.raises_when_full:
            return self._fits_by_count(search, batch)
        profile = self._trace_batch(batch)
        fits = self._runs_once(profile)
        if not fits:
            self.device.release_cache()
        return fits

    def _fits_by_count(self, search: CountedSearch, batch: int) -> bool:
        if search.is_slow(batch) or not self._has_room(search.extrapolate(batch)):
            return False
        profile = self._trace_batch(batch)
        search.peaks[batch] = compute_peak_bytes(profile)
        fits = self._has_room(count_needed_bytes(profile))
        if fits and batch.bit_count() == 1:  # on the way up; between two of these a pass takes less than twice as long
            self._look_how_long(search, profile)
        return fits

    def _look_how_long(self, search: CountedSearch, profile: Profile) -> None:
        try:
            subject = self._make_live_model(profile, compiled=False)
            search.note_pass(profile.batch, EagerSource(subject, None, self.device.clock()).run_bare)
        except Exception:  # which comes again when it is measured, and is put in words there
            search.slow_after = profile.batch

    def _runs_once(self, profile: Profile) -> bool:
        try:
            self._make_live_model(profile).run_pass()
            self.device.synchronize()
        except Exception as error:
            if self.device.is_out_of_memory(error):
                return False
            raise
        return True

    def _trace_batch(self, batch: int) -> Profile:
        return trace(self.target, dataclasses.replace(self.request, batch=batch))

    def _make_live_model(self, profile: Profile, *, compiled: bool = True) -> LiveModel:
        made = dataclasses.replace(self.request, batch=profile.batch, dtype=profile.dtype)
        how = dataclasses.replace(self.how, device=self.device.kind, compiled=compiled and self.how.compiled)
        return LiveModel(self.target, made, how, gradients=profile.ran.gradients == "on")

    def _why_no_room(self, profile: Profile) -> str | None:
        """Why there is no room, where running out of memory may end the whole program; `None` if there is."""
        needed, free = count_needed_bytes(profile), self.device.free_bytes()
        if self.device.raises_when_full or self._has_room(needed):
            return None
        return f"It holds {show_quantity(needed, 'bytes')} at its peak; {show_quantity(free, 'bytes')} are free."

    def _has_room(self, needed: int) -> bool:
        return has_room(needed, self.device.free_bytes())

    def _make_too_large_error(self, batch: int, why: str = "") -> DoesNotFit:
        return DoesNotFit(self.target.name, self.device.kind, batch, why)
