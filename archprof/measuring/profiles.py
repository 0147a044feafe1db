"""Profiles of one model or several, counted or measured. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archprof import files
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, MeasureRequest, PassRequest
from archprof.tracing.profile import profile_model


def count_or_measure(
    model: Any, inputs: Any = None, request: PassRequest = PLAIN_PASS, how: MeasureRequest | None = None,
    device: str | None = None,
) -> Profile:  # fmt: skip
    """The profile of one model, measured where it is said how, and predicted on a device where one is named."""
    validate_device(device)
    if how is None:
        return predict_if_asked(profile_model(model, inputs, request), device)
    from archprof.measuring import run

    return predict_if_asked(run.measure_model(model, inputs, request, how), device, how)


def profile_several(
    models: Iterable[Any], inputs: Any = None, request: PassRequest = PLAIN_PASS, how: MeasureRequest | None = None,
    device: str | None = None,
) -> list[Profile]:  # fmt: skip
    """The profile of each of several models; what is a profile already, or saved, stays as it is but for `device`."""
    validate_device(device)
    return [predict_if_asked(_profile_one(model, inputs, request, how), device, how) for model in models]


def _profile_one(model: Any, inputs: Any, request: PassRequest, how: MeasureRequest | None) -> Profile:
    from archprof.facts import store

    if isinstance(model, Profile):
        return model
    return store.load(model) if files.is_profile_path(model) else count_or_measure(model, inputs, request, how)


def predict_if_asked(profile: Profile, device: str | None, how: MeasureRequest | None = None) -> Profile:
    """The profile with what it should take on a device, run as it was measured; as it is where none is named."""
    if device is None:
        return profile
    from archprof.predicting import runs

    run = runs.RunRequest() if how is None else runs.RunRequest(False, how.compiled, how.channels_last)
    return runs.predict_on(profile, device, run)


def validate_device(device: str | None) -> None:
    """Raise what predicting on a device would raise, before there is a profile."""
    if device is not None:
        from archprof.predicting import runs

        runs.validate_device(device)
