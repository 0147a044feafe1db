"""Modes that the caller has on: a pass runs outside them, for they would change what it sees, or end it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from archprof.torchside.private import (
    disable_dispatch_modes,
    list_dispatch_modes,
    list_function_modes,
    pop_function_mode,
    push_function_mode,
)

OWN_PACKAGES = ("archprof", "torch.utils._device")
"""Modes of an outer pass, and `with torch.device(...)`, which is no more than a default."""


@contextmanager
def leave_foreign_modes() -> Iterator[None]:
    """Dispatch modes, such as `FakeTensorMode`, function modes and the search for anomalies, off until the end."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():  # a model that is built in it cannot be trained
            stack.enter_context(torch.inference_mode(False))
        if torch.is_anomaly_enabled():
            stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if disable_dispatch_modes and any(map(_is_foreign, list_dispatch_modes())):
            stack.enter_context(disable_dispatch_modes())
        stack.enter_context(_leave_function_modes())
        yield


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
