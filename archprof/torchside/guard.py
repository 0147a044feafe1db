"""Code of others is run here, and the process is afterwards what it was before: also after an exception or Ctrl-C.

Ctrl-C can arrive between any two lines, also in the `__exit__` of a context manager, which then does not come to its
end. So what must be put back is noted as values, and putting it back is done twice: one key press stops one of them.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils import _python_dispatch

T = TypeVar("T")

PROCESS_LOCK = threading.RLock()
"""Random states, torch's defaults and the collector belong to the process: two threads would put back each other's."""

MODE_FLAGS = (
    "_is_in_torch_dispatch_mode", "_is_in_non_infra_torch_dispatch_mode",
    "_is_in_any_mode_without_ignore_compile_internals",
)  # fmt: skip
"""Torch's notes, one a process, that some mode is on."""


def run_untouched(run: Callable[[], T]) -> T:
    """Call `run` and put back what it changed of torch and Python; other threads wait for their turn.

    These are: random states of Python, torch's CPU and numpy; torch's grad mode, default dtype and device; its stacks
    of modes and of hooks on saved tensors; its function that tells whether autocast is on; the collector's thresholds,
    and objects that it was told to pass over.
    """
    with PROCESS_LOCK:
        state = _ProcessState()
        try:
            try:
                return run()
            finally:
                state.restore()
        finally:
            state.restore()


class _ProcessState:
    """What there is before."""

    def __init__(self) -> None:
        self.numpy = sys.modules.get("numpy.random")
        self.random: Any = torch.get_rng_state(), random.getstate(), self.numpy and self.numpy.get_state()
        self.grad, self.dtype = torch.is_grad_enabled(), torch.get_default_dtype()
        self.device = torch.get_default_device()
        self.autocast = torch.is_autocast_enabled
        self.flags = {name: getattr(_python_dispatch, name) for name in MODE_FLAGS}
        self.depths = torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack()
        self.saved_hooks = _innermost_saved_hooks()
        self.frozen, self.threshold = gc.get_freeze_count(), gc.get_threshold()

    def restore(self) -> None:
        while torch._C._len_torch_dispatch_stack() > self.depths[0]:
            torch._C._pop_torch_dispatch_stack(None)
        while torch._C._len_torch_function_stack() > self.depths[1]:
            torch._C._pop_torch_function_stack()
        while (hooks := _innermost_saved_hooks()) is not None and hooks != self.saved_hooks:
            torch._C._autograd._pop_saved_tensors_default_hooks()
        notes = vars(_python_dispatch)
        notes.update(self.flags)
        notes["set_is_in_mode_without_ignore_compile_internals"](self.flags[MODE_FLAGS[-1]])
        torch._C._set_grad_enabled(self.grad)
        torch.set_default_dtype(self.dtype)
        torch.is_autocast_enabled = self.autocast
        if torch.get_default_device() != self.device:
            torch.set_default_device(self.device)
        torch.set_rng_state(self.random[0])
        random.setstate(self.random[1])
        if self.numpy:
            self.numpy.set_state(self.random[2])
        gc.set_threshold(*self.threshold)
        if not self.frozen and gc.get_freeze_count():
            gc.unfreeze()


def _innermost_saved_hooks() -> Any:
    """The innermost hooks on saved tensors; `None`: there are none."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)
