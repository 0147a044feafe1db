"""A grid of predictions: a model at several batch sizes and dtypes on several devices. Imports no torch by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from archprof.errors import UsageError
from archprof.facts.predicted import LatencyPrediction
from archprof.facts.records import Profile
from archprof.facts.request import DECODER_PHASES, PassRequest
from archprof.predicting.devices import Device
from archprof.predicting.latency.rates import find_rates
from archprof.predicting.runs import RunRequest, predict_pass
from archprof.tracing.profile import profile_model


class PredictedPass(NamedTuple):
    """A pass, and what it should take on a device."""

    profile: Profile
    prediction: LatencyPrediction


def vary_request(request: PassRequest, batches: Sequence[int], dtypes: Sequence[str | None]) -> Iterator[PassRequest]:
    """The request at every batch and dtype; a context without a phase is that of both phases."""
    both = request.context is not None and request.phase is None
    for phase in DECODER_PHASES if both else (request.phase,):
        for dtype in dtypes:
            for batch in batches:
                yield replace(request, batch=batch, dtype=dtype, phase=phase)


def predict_grid(
    model: Any, inputs: Any, requests: Iterable[PassRequest], devices: Sequence[Device], how: RunRequest | None = None
) -> tuple[PredictedPass, ...]:
    """On each device a prediction for every request; each pass is traced once.

    Raises:
        UsageError, TraceError, ArchprofError: as `archprof.profile` and `predict_pass`.
    """
    for device in devices:
        find_rates(device)  # raises what is wrong with it, before any work
    profiles = [_open_profile(model, inputs, request) for request in requests]
    return tuple(
        PredictedPass(profile, predict_pass(profile, device, how)) for device in devices for profile in profiles
    )


def _open_profile(model: Any, inputs: Any, request: PassRequest) -> Profile:
    """The profile of a model; one that is there already is a pass that was traced, and no other."""
    if not isinstance(model, Profile):
        return profile_model(model, inputs, request)
    if changes := [*["input"] * (inputs is not None), *request.list_changes()]:
        raise UsageError(f"{model.model} was traced already; {', '.join(changes)} cannot change it.")
    return model
