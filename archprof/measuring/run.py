"""From a target to a measured profile: the counted rows of one trace, with what repeated real passes took."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch

from archprof.errors import DoesNotFit, UsageError
from archprof.facts.measured import Measurement
from archprof.facts.records import Profile
from archprof.measuring import schedule
from archprof.measuring.batches import largest
from archprof.measuring.live_model import Subject
from archprof.measuring.protocols import Device, Progress
from archprof.measuring.schedule import Plan
from archprof.measuring.session import Session
from archprof.sources.inputs import find_input_specs
from archprof.sources.target import Target
from archprof.torchside.guard import run_untouched
from archprof.tracing.ops.costs import Causal
from archprof.tracing.trace import trace
from archprof.units import show_quantity


def _open_cpu() -> Device:
    from archprof.measuring.cpu import CPU

    return CPU()


def _open_cuda() -> Device:
    from archprof.measuring.cuda import CudaDevice

    return CudaDevice()


DEVICES: dict[str, Callable[[], Device]] = {"cpu": _open_cpu, "cuda": _open_cuda}

ROOM = 0.9
"""The share of the free memory that the counted bytes may take: workspaces and other programs need some, too."""


def measure(
    target: Target,
    *,
    device: str = "cpu",
    batch: int | Literal["auto"] = 1,
    dtype: str | None = None,
    train: bool = False,
    causal: Causal = "full",
    channels_last: bool = False,
    compile: bool = False,
    rounds: int = 7,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> Profile:
    """Trace `target`, then run it on `device`: the counted profile, with its measurement.

    Ctrl-C ends it early: the profile then holds what was measured so far.

    Args:
        batch: "auto": the largest that fits.
        rounds, seconds: see `Plan`.
        progress: told the fraction done and the seconds that are left.

    Raises:
        DoesNotFit: the device has too little memory for this batch.
        UsageError: there is no such device, or "auto" has nothing to vary.
        ArchprofError: the model does not run on the device.
        TraceError: its forward fails even without values.
    """
    if device not in DEVICES:
        raise UsageError(f"Nothing can be measured on {device!r}.", f"Devices: {', '.join(DEVICES)}.")
    if target.decoding is not None and target.decoding.phase == "decode":
        raise UsageError(
            f"One step of decoding {target.name} cannot be repeated: its cache grows with every pass.",
            "Allowed: the prefill phase, or no phase.",
        )
    plan = Plan(rounds=rounds, seconds=seconds)
    where = DEVICES[device]()
    bench = _Bench(target, where, dtype, train, causal, channels_last, compile)
    generators = [torch.cuda.current_device()] if where.kind == "cuda" else []

    def run() -> Profile:
        with torch.inference_mode(False), torch.random.fork_rng(devices=generators), where.settings():
            return bench.measured(bench.largest() if batch == "auto" else batch, plan, progress or schedule.silent)

    return run_untouched(run)


@dataclasses.dataclass(frozen=True)
class _Bench:
    """One target on one device, with everything that is the same for every batch."""

    target: Target
    where: Device
    dtype: str | None
    train: bool
    causal: Causal
    channels_last: bool
    compile: bool

    def measured(self, batch: int, plan: Plan, progress: Progress) -> Profile:
        profile = self._counted(batch)
        if why := self._room(profile):
            raise self._too_large(batch, why)
        measurement = self._tried(profile, plan, progress)
        if measurement is None:  # by now the tensors of the pass are gone
            self.where.release()
            raise self._too_large(batch)
        return dataclasses.replace(profile, measurement=measurement)

    def _tried(self, profile: Profile, plan: Plan, progress: Progress) -> Measurement | None:
        """The measurement; `None` where the device's memory was full."""
        session = Session(self.where, profile, plan, progress)
        try:
            session.run(lambda: self._subject(profile))
        except Exception as error:
            if self.where.is_out_of_memory(error):
                return None
            raise
        return session.measurement()

    def largest(self) -> int:
        """The largest batch of which one pass fits."""
        if not any(spec.batched for spec in find_input_specs([*self.target.args, *self.target.kwargs.values()])):
            raise UsageError(
                f"No batch can be found for {self.target.name}: every input has its exact shape.",
                "The batch is put in front of inputs written without it: 3x224x224.",
            )
        found = largest(self._fits)
        if found is None:
            raise self._too_large(1)
        return found

    def _fits(self, batch: int) -> bool:
        """Whether there is room for the counted bytes or, where the device itself says so, for a real pass."""
        profile = self._counted(batch)
        if not self.where.refuses:
            return self._room(profile) is None
        fits = self._runs(profile)
        if not fits:
            self.where.release()
        return fits

    def _runs(self, profile: Profile) -> bool:
        try:
            self._subject(profile).run()
            self.where.synchronize()
        except Exception as error:
            if self.where.is_out_of_memory(error):
                return False
            raise
        return True

    def _counted(self, batch: int) -> Profile:
        return trace(self.target, batch=batch, dtype=self.dtype, train=self.train, causal=self.causal)

    def _subject(self, profile: Profile) -> Subject:
        return Subject(
            self.target,
            device=self.where.kind,
            batch=profile.batch,
            dtype=profile.dtype,
            train=self.train,
            channels_last=self.channels_last,
            compile=self.compile,
        )

    def _room(self, profile: Profile) -> str | None:
        """Why there is no room, where running out of memory may end the whole program; `None` if there is."""
        from archprof.facts import liveness

        free = self.where.free_bytes()
        needed: int = liveness.compute_peak_bytes(profile)
        if self.where.refuses or free is None or needed <= ROOM * free:
            return None
        return f"It holds {show_quantity(needed, 'bytes')} at its peak; {show_quantity(free, 'bytes')} are free."

    def _too_large(self, batch: int, why: str = "") -> DoesNotFit:
        return DoesNotFit(self.target.name, self.where.kind, batch, why)
