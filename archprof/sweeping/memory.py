"""What a run takes of memory, as predicted, and what changes it: everything that needs more than one trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.predicting.devices import Device, resolve_device
from archprof.predicting.memory import MemoryPrediction, predict_memory
from archprof.predicting.workspaces import choose_workspaces
from archprof.tracing.profile import profile_model

if TYPE_CHECKING:
    from archprof.sweeping.advice import Advice
    from archprof.sweeping.device_batches import OnDevice

ALL_DEVICES = "all"


class MemoryRun(NamedTuple):
    """A pass and its memory; the fields are those of `archprof.analysis.memory.MemoryAnswer`."""

    profile: Profile
    prediction: MemoryPrediction
    device: Device | None
    devices: tuple[OnDevice, ...] | None = None
    advice: tuple[Advice, ...] | None = None


def predict_run(
    model: Any, inputs: Any, request: PassRequest, device: str | None = None, *, advise: bool = False
) -> MemoryRun:
    """Trace a pass and predict its memory; `device` is one of the catalogue, or `ALL_DEVICES`."""
    every = device == ALL_DEVICES
    found = resolve_device(device) if device is not None and not every else None
    profile = profile_model(model, inputs, request)
    workspaces = choose_workspaces(found and found.name)
    prediction = predict_memory(profile, workspaces)
    run = MemoryRun(profile, prediction, found)
    if every:
        from archprof.sweeping.device_batches import judge_every_device

        run = run._replace(devices=judge_every_device(model, inputs, request, profile))
    if advise:
        from archprof.sweeping.advice import find_advice

        run = run._replace(advice=find_advice(model, inputs, request, profile, prediction, workspaces))
    return run
