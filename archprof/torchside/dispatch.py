"""What our modes in torch's dispatcher have in common, and how torch's own Python code is opened to a function mode."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from archprof.torchside.private import TorchDispatchMode


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
