"""The calls of a module by its hooks: the public way, where torch's private entry leads nowhere."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Protocol

from torch import nn


class CallWatcher(Protocol):
    """What is told of the calls of a module."""

    def begin(self, args: Any, kwargs: dict[str, Any]) -> None:
        """A call begins."""

    def end(self, output: Any) -> None:
        """It came to its end."""

    def abort(self, error: BaseException) -> None:
        """It was left by an exception."""


class CallHooks:
    """The first hook before a module's forward and the last one after it, until `remove`."""

    def __init__(self, module: nn.Module, watcher: CallWatcher) -> None:
        self.module, self.watcher, self._open = module, watcher, 0
        before = module.register_forward_pre_hook(_Hook(self._begin), prepend=True, with_kwargs=True)
        after = module.register_forward_hook(_Hook(self._end), with_kwargs=True, always_call=True)
        self._handles = (before, after)

    def remove(self) -> None:
        """Leave the module."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if module is self.module:  # and not a copy of it that was made in forward, with our hooks
            self._open += 1
            self.watcher.begin(args, kwargs)

    def _end(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if module is not self.module or not self._open:
            return
        self._open -= 1
        error = sys.exc_info()[1]  # torch calls this, too, while it handles what the forward raised
        if error is not None and _came_through(error, sys._getframe(2)):
            self.watcher.abort(error)
        else:
            self.watcher.end(output)


def _came_through(error: BaseException, frame: FrameType) -> bool:
    """Whether an exception came up in `frame` or what it called, and is not one that somebody outside handles."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame is not frame:
        trace = trace.tb_next
    return trace is not None


class _Hook:
    """A function that a copy of the module shares with it."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any) -> None:
        self.function(*args)

    def __deepcopy__(self, memo: Any) -> _Hook:
        return self
