"""Modes that the caller has on: a pass runs outside them, for they would change what it sees, or end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

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
    exits = list(_find_exits())
    if not exits:
        yield
        return
    with ExitStack() as stack:
        for leave in exits:
            stack.enter_context(leave())
        yield


def _find_exits() -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """What leaves each of those that are on."""
    if leave_transforms and peek_transform() is not None:
        yield leave_transforms
    get_state, set_state = jit_tracing
    if get_state and set_state and (state := get_state()) is not None:
        yield partial(_leave_jit_tracing, set_state, state)
    if torch.is_inference_mode_enabled():  # a model that is built in it cannot be trained
        yield partial(torch.inference_mode, False)
    if torch.is_anomaly_enabled():
        yield partial(torch.autograd.set_detect_anomaly, False)
    if disable_dispatch_modes and any(map(_is_foreign, list_dispatch_modes())):
        yield disable_dispatch_modes
    if pop_function_mode is not None and any(map(_is_foreign, list_function_modes())):
        yield partial(_leave_function_modes, list(list_function_modes()))


@contextmanager
def _leave_jit_tracing(set_state: Callable[[Any], None], state: Any) -> Iterator[None]:
    set_state(None)
    try:
        yield
    finally:
        set_state(state)


@contextmanager
def _leave_function_modes(modes: list[Any]) -> Iterator[None]:
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
