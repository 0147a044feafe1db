"""What a run takes of memory, as predicted, and what changes it: everything that needs more than one trace."""

from __future__ import annotations

from typing import Any, NamedTuple

from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.predicting.devices import Device, resolve_device
from archprof.predicting.memory import MemoryPrediction, predict_memory
from archprof.predicting.workspaces import choose_workspaces
from archprof.tracing.profile import profile_model

ALL_DEVICES = "all"


class MemoryRun(NamedTuple):
    """A pass and its memory; the fields are those of `archprof.analysis.memory.MemoryAnswer`."""

    profile: Profile
    prediction: MemoryPrediction
    device: Device | None
    every_device: bool


def predict_run(
    model: Any, inputs: Any, request: PassRequest, device: str | None = None, *, advise: bool = False
) -> MemoryRun:
    """Trace a pass and predict its memory; `device` is one of the catalogue, or `ALL_DEVICES`."""
    every = device == ALL_DEVICES
    found = resolve_device(device) if device and not every else None
    profile = profile_model(model, inputs, request)
    prediction = predict_memory(profile, choose_workspaces(found and found.name))
    return MemoryRun(profile, prediction, found, every)
