"""From what a user names to its profile: a saved one is read, anything else is opened and traced.

Importing this imports no torch: a saved profile is read without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof import files
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, PassRequest

if TYPE_CHECKING:
    from archprof.sources.target import Target


def profile_model(model: Any, inputs: Any = None, request: PassRequest = PLAIN_PASS) -> Profile:
    """The profile of what `archprof.profile` takes; what it raises stands there."""
    if files.is_profile_path(model):
        return _load_unchanged(model, inputs, request)
    from archprof.torchside.foreign_modes import leave_foreign_modes
    from archprof.tracing.trace import trace

    with leave_foreign_modes():
        return trace(open_target(model, inputs, request), request)


def open_target(model: Any, inputs: Any, request: PassRequest) -> Target:
    """What is to be traced, with the inputs that were given, or asked for by their length or phase."""
    from archprof.sources.resolve import resolve
    from archprof.tracing.decoding import change_default_inputs

    if inputs is not None and request.list_sequence_changes():
        raise UsageError("Inputs were given, and lengths or a phase of the default ones, too.", "One or the other.")
    target = resolve(model, inputs, request)
    return change_default_inputs(target, request) if request.list_sequence_changes() else target


def _load_unchanged(path: str, inputs: Any, request: PassRequest) -> Profile:
    """A saved profile; what was traced is traced, so nothing may be asked for that would change it."""
    changes = ["input"] * (inputs is not None) + [*request.list_changes()]
    if changes:
        raise UsageError(
            f"{path} is a saved profile; {', '.join(changes)} cannot change it.",
            hint="Name the model itself to trace it again.",
        )
    from archprof.facts import store

    return store.load(path)
