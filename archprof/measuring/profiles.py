"""Profiles of one model or several, counted or measured. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archprof import files
from archprof.facts import store
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, MeasureRequest, PassRequest
from archprof.tracing.profile import profile_model


def count_or_measure(
    model: Any, inputs: Any = None, request: PassRequest = PLAIN_PASS, how: MeasureRequest | None = None
) -> Profile:
    """The profile of one model, measured where it is said how."""
    if how is None:
        return profile_model(model, inputs, request)
    from archprof.measuring import run

    return run.measure_model(model, inputs, request, how)


def profile_several(
    models: Iterable[Any], inputs: Any = None, request: PassRequest = PLAIN_PASS, how: MeasureRequest | None = None
) -> list[Profile]:
    """The profile of each of several models; what is a profile already, or saved, stays as it is."""
    return [_profile_one(model, inputs, request, how) for model in models]


def _profile_one(model: Any, inputs: Any, request: PassRequest, how: MeasureRequest | None) -> Profile:
    if isinstance(model, Profile):
        return model
    return store.load(model) if files.is_profile_path(model) else count_or_measure(model, inputs, request, how)
