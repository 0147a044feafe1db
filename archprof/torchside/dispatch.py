"""Torch's dispatcher: what our modes in it share, its keys, and how torch's Python code is opened to function modes."""

from __future__ import annotations

import types
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from archprof.torchside.private import TorchDispatchMode, require


class DispatchMode(TorchDispatchMode):  # type: ignore[misc]
    """A mode that does without torch's compiler."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True wraps every call in torch._dynamo, whose import takes longer than torch's own


def open_to_mode(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same code, except that it does not hand itself over to a function mode.

    torch hides from a mode what runs inside a function of its own written in Python.
    """
    assert isinstance(function, types.FunctionType)
    asked = dict.fromkeys(("has_torch_function", "has_torch_function_unary"), _takes_no_part)
    scope = {**function.__globals__, **asked}
    opened = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


def _takes_no_part(tensors: Any) -> bool:
    return False


def switch_dispatch_key(key: str, on: bool) -> None:
    """Let a key of the dispatcher that no tensor has see the ops of this thread, or no longer."""
    purpose = "apply the rules of autocast"
    require("_C._dispatch_tls_set_dispatch_key_excluded", purpose)(key, not on)
    require("_C._dispatch_tls_set_dispatch_key_included", purpose)(key, on)


def make_key_guard(key: str) -> Callable[[], AbstractContextManager[Any]]:
    """What gives contexts inside which a key of the dispatcher sees nothing."""
    purpose = "apply the rules of autocast"
    keys = require("_C.DispatchKeySet", purpose)(require(f"_C.DispatchKey.{key}", purpose))
    guard = require("_C._ExcludeDispatchKeyGuard", purpose)
    return lambda: guard(keys)
