"""Code of others is run here, and the process is afterwards what it was before: also after an exception or Ctrl-C.

Ctrl-C can arrive between any two lines, also in the `__exit__` of a context manager, which then does not come to its
end. So what must be put back is noted as values, and putting it back is done twice: one key press stops one of them.
"""

from __future__ import annotations

import gc
import os
import queue
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn, TypeVar

import torch

from archprof.errors import ArchprofError
from archprof.torchside.autocast import AutocastState
from archprof.torchside.foreign_modes import leave_foreign_modes
from archprof.torchside.handed_over import HAND_OVERS
from archprof.torchside.process_tables import CompilerStance, ImportTraces, ModeStacks, SkippedCode, Switches
from archprof.torchside.random_states import NumpyState

T = TypeVar("T")

HOLDER = 0, 0
"""The thread that has its turn: as Python calls it, and as the system does."""

PROCESS_LOCK = threading.RLock()
"""Random states, torch's defaults and the collector belong to the process: two threads would put back each other's."""

PATIENCE = 5.0
"""Seconds between two looks at what the holder does; a wait that is seen twice is taken to be for us."""

WAITING_CODE = (threading.__file__, queue.__file__)
"""Where Python waits for another thread: joins, events, conditions, queues and results of pools."""

IDLE_LOOKS = 5
"""Looks after which a thread that stands in a function of C and computes nothing is taken to wait for us, too."""

DEEPER = 2
"""How much deeper calls may be nested during a pass: each module that is watched takes half as much again as alone."""


def knows_compiler() -> bool:
    """Whether torch's compiler is imported, which takes longer than torch's own import."""
    return "torch._dynamo" in sys.modules


def run_untouched(run: Callable[[], T], *, compiling: bool = True) -> T:
    """Call `run` and put back what it changed of torch and Python; other threads wait for their turn.

    Without `compiling`, what was given to torch's compiler, where that is imported, runs as it was written.

    These are: what an import of torch's compiler leaves in the environment, in Python's warnings and in torch; random
    states of Python, torch's CPU and numpy; torch's grad mode, default dtype and device, and which kernels it may
    choose; its stacks of modes and of hooks on saved tensors; autocast and its functions; what its compiler passes
    over, which meanwhile is archprof, too; Python's methods that hand work to threads and processes, and how deep its
    calls may be nested, which meanwhile is deeper; whether the collector is on, its thresholds, and objects that it was
    told to pass over. The caller's modes are off meanwhile.
    """
    _refuse_to_wait()
    with _hold_turn(), leave_foreign_modes():
        state = _ProcessState()
        try:
            try:
                state.change(compiling)
                return run()
            except BaseException as error:
                if not isinstance(error, Exception):
                    _leave_half_entered(error)
                raise
            finally:
                state.restore()
        finally:
            state.restore()


def _leave_half_entered(stop: BaseException) -> None:
    """Close what Ctrl-C interrupted as it was entered: it puts back its part now, and not when the error is let go."""
    one: BaseException | None = stop
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one = one.__cause__ or one.__context__


@contextmanager
def _hold_turn() -> Iterator[None]:
    """Wait for the turn; a thread for which the holder waits is refused, though it was started before the pass."""
    global HOLDER
    lock, seen, looks = PROCESS_LOCK, None, 0
    while not lock.acquire(timeout=PATIENCE):
        waits = _find_wait(*HOLDER)
        looks = looks + 1 if waits is not None and waits == seen else 0
        if waits is not None and looks >= (IDLE_LOOKS if waits.spent else 1):
            _refuse_turn()
        seen = waits
    before, HOLDER = HOLDER, (threading.get_ident(), threading.get_native_id())
    try:
        yield
    finally:
        HOLDER = before
        lock.release()


class _Wait(NamedTuple):
    """At which step of which call a thread waits; and where C waits, what time of the processor it has spent."""

    frame: int
    step: int
    spent: str


def _find_wait(thread: int, native: int) -> _Wait | None:
    """What a thread waits for, or may wait for; `None` where it works, or nobody can say."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return None
    waits = _Wait(id(frame), frame.f_lasti, "")
    if frame.f_code.co_filename in WAITING_CODE:
        return waits
    spent = _read_spent_time(native)  # queue.SimpleQueue and locks wait in C, under the line that calls them
    return waits._replace(spent=spent) if spent else None


def _read_spent_time(native: int) -> str:
    """The state of a thread and its ticks of the processor, as Linux tells them; "" elsewhere."""
    try:
        with open(f"/proc/self/task/{native}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return " ".join((fields[0], *fields[11:13]))


def _refuse_turn() -> NoReturn:
    raise ArchprofError(
        "A forward that is being profiled profiles another model in a thread of its own.",
        "One pass at a time can be run: each would wait for the other.",
        "Profile it before, or in the thread that runs the forward.",
    )


def _refuse_to_wait() -> None:
    """A thread of a pass that would wait for its turn is refused: the pass may wait for the thread."""
    if not HAND_OVERS.is_inside():
        return
    if not PROCESS_LOCK.acquire(blocking=False):
        _refuse_turn()
    PROCESS_LOCK.release()


def _forget_other_threads() -> None:
    """A child that was forked has one thread: what another held or watched in the parent is nobody's here."""
    global PROCESS_LOCK
    if PROCESS_LOCK.acquire(blocking=False):
        PROCESS_LOCK.release()
    else:
        PROCESS_LOCK = threading.RLock()
        HAND_OVERS.restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


def _has_deep_stack() -> bool:
    """Whether this thread has a stack of the usual 8 MiB: on a small one endless calls would end the process."""
    if threading.current_thread() is threading.main_thread():
        return True
    size = threading.stack_size()  # which sets it to its default, too
    threading.stack_size(size)
    return sys.platform == "linux" and not size


class _ProcessState:
    """What there is before. Ctrl-C may come at the end of any call: what is changed here was noted before."""

    def __init__(self) -> None:
        self.is_restored = False
        self.random: Any = torch.get_rng_state(), random.getstate()
        self.numpy = NumpyState()
        self.grad, self.dtype = torch.is_grad_enabled(), torch.get_default_dtype()
        self.device = torch.get_default_device()
        self.autocast = AutocastState()
        self.modes = ModeStacks()
        self.stance = CompilerStance() if knows_compiler() else None
        self.skipped = SkippedCode() if knows_compiler() else None
        self.recursion_limit = sys.getrecursionlimit()
        self.frozen, self.threshold = gc.get_freeze_count(), gc.get_threshold()
        self.switches, self.imports = Switches(), ImportTraces()

    def change(self, compiling: bool) -> None:
        """As a pass needs it."""
        if self.stance is not None and not compiling:
            self.stance.force_eager()
        if self.skipped is not None:
            self.skipped.add("archprof")
        if _has_deep_stack():
            sys.setrecursionlimit(DEEPER * self.recursion_limit)

    def restore(self) -> None:
        if self.is_restored:
            return
        HAND_OVERS.restore()
        self.imports.restore()
        self.switches.restore()
        self.modes.restore()
        if self.stance is not None:
            self.stance.restore()
        if self.skipped is not None:
            self.skipped.restore()
        torch.set_grad_enabled(self.grad)
        torch.set_default_dtype(self.dtype)
        self.autocast.restore()
        if torch.get_default_device() != self.device:
            torch.set_default_device(self.device)
        torch.set_rng_state(self.random[0])
        random.setstate(self.random[1])
        self.numpy.restore()
        sys.setrecursionlimit(self.recursion_limit)
        gc.set_threshold(*self.threshold)
        if not self.frozen and gc.get_freeze_count():
            gc.unfreeze()
        self.is_restored = True
