"""Several models traced one after another, each with a sign of life."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import archprof
from archprof.progress import working

if TYPE_CHECKING:
    from archprof.records import Profile


def profiles(models: Iterable[str], inputs: list[str] | None, **options: Any) -> list[Profile]:
    """The profile of each MODEL; inputs and options are for those that are not saved already."""
    return [_profile(model, inputs, options) for model in models]


def _profile(model: str, inputs: list[str] | None, options: dict[str, Any]) -> Profile:
    if model.endswith(".json"):
        return archprof.load(model)
    with working(f"Tracing {model}"):
        return archprof.profile(model, inputs or None, **options)
