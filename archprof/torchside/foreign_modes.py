"""Modes that the caller has on: a pass runs outside them, for they would change what it sees, or end it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from archprof.torchside.private import (
    disable_dispatch_modes,
    jit_tracing,
    leave_transforms,
    list_dispatch_modes,
    list_function_modes,
    peek_transform,
    pop_function_mode,
    push_function_mode,
)

OWN_PACKAGES = ("archprof", "torch.utils._device")
"""Modes of an outer pass, and `with torch.device(...)`, which is no more than a default."""


@contextmanager
def leave_foreign_modes() -> Iterator[None]:
    """Dispatch modes, such as `FakeTensorMode`, function modes and the search for anomalies, off until the end.

    So are transforms of `torch.func` and the tracing of TorchScript, inside of which somebody may ask for a profile.
    """
    with ExitStack() as stack:
        if leave_transforms and peek_transform() is not None:
            stack.enter_context(leave_transforms())
        stack.enter_context(_leave_jit_tracing())
        if torch.is_inference_mode_enabled():  # a model that is built in it cannot be trained
            stack.enter_context(torch.inference_mode(False))
        if torch.is_anomaly_enabled():
            stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if disable_dispatch_modes and any(map(_is_foreign, list_dispatch_modes())):
            stack.enter_context(disable_dispatch_modes())
        stack.enter_context(_leave_function_modes())
        yield


@contextmanager
def _leave_jit_tracing() -> Iterator[None]:
    get_state, set_state = jit_tracing
    state = get_state() if get_state and set_state else None
    if state is None:
        yield
        return
    set_state(None)
    try:
        yield
    finally:
        set_state(state)


@contextmanager
def _leave_function_modes() -> Iterator[None]:
    modes = list(list_function_modes())
    if pop_function_mode is None or not any(map(_is_foreign, modes)):
        yield
        return
    for _ in modes:
        pop_function_mode()
    for mode in modes:
        if not _is_foreign(mode):
            push_function_mode(mode)
    try:
        yield
    finally:
        while list_function_modes():
            pop_function_mode()
        for mode in modes:
            push_function_mode(mode)


def _is_foreign(mode: object) -> bool:
    return not type(mode).__module__.startswith(OWN_PACKAGES)
