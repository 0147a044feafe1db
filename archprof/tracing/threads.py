"""Work of a pass in other threads: seen there, too, charged to the module that handed it over, one thread at a time.

Torch's modes, hooks on saved tensors and autograd's numbers belong to a thread. So a thread that works for the pass
enters modes of its own, and what the pass writes down is guarded by a lock from the first such thread on: before it,
nothing is locked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from archprof.torchside.dispatch import DispatchMode
from archprof.torchside.private import count_dispatch_modes, find_running_node, next_sequence_number
from archprof.tracing.calls import Calls
from archprof.tracing.op_mode import OpMode
from archprof.tracing.recorder import Recorder

if TYPE_CHECKING:
    from archprof.tracing.calls import ModuleNode
    from archprof.tracing.op_memo import CallKey

PATIENCE = 0.05
"""Seconds without any op after which a thread is taken to wait for another."""

LONGEST_OP = 60.0
"""Seconds that one op on real tensors may take, to which nobody shall wait longer."""

ROW_MARK = "archprof_row"

THREADS_NOTE = (
    "Work of other threads is counted with the rest: they ran one after another, as far as they let each other, so "
    "that peak memory is without what they would hold at once."
)

PROCESS_OP = "python.another_process.default"

_local = threading.local()
"""Of each thread: its stack of calls, whether it records, and its last number of autograd."""


class PassThreads:
    """The threads that work for one pass."""

    def __init__(self, op_mode: OpMode, *, watches_saved: bool, repeats_after: Callable[[BaseException], bool]) -> None:
        """Args:
        watches_saved: what autograd keeps is watched.
        repeats_after: whether an exception has the pass run again in another way.
        """
        self.op_mode, self.calls, self.recorder = op_mode, op_mode.calls, op_mode.recorder
        self.watches_saved, self.repeats_after = watches_saved, repeats_after
        self.is_shared = self.is_over = False
        self.errors: list[BaseException] = []
        self._inside = {self.calls.thread}

    def is_inside(self) -> bool:
        """Whether the running thread does work of the pass, and is not inside an op, which is recorded as one."""
        return threading.get_ident() in self._inside and count_dispatch_modes() > 0

    def share(self) -> None:
        """Guard what is written down: another thread writes, too."""
        if not self.is_shared:
            self.is_shared = True
            self.op_mode.__class__, self.calls.__class__ = SharedOpMode, SharedCalls
            self.recorder.__class__ = SharedRecorder

    def close(self) -> None:
        """The pass is over: what threads still do is none of it."""
        self.is_over = True
        self._inside.clear()
        self.repeats_after = _never  # which knows the pass, as the pass knows us

    @contextmanager
    def enter(self, row: int) -> Iterator[None]:
        """Inside, this thread works for the pass; what it does outside any call belongs to `row`."""
        ident = threading.get_ident()
        if self.is_over or ident in self._inside:
            yield
            return
        self.share()
        _local.__dict__.update(stack=[row], recording=True, last_node_number=-1)
        self._inside.add(ident)
        try:
            with ExitStack() as entered:
                entered.enter_context(_ThreadMode(self.op_mode))
                entered.enter_context(self.calls.function_mode)
                if self.watches_saved and self.recorder.phase == "forward":
                    hooks = torch.autograd.graph.saved_tensors_hooks(self.recorder.note_saved, lambda tensor: tensor)
                    entered.enter_context(hooks)
                yield
        finally:
            self._inside.discard(ident)
            _local.__dict__.clear()

    def take_along(self, function: Callable[..., Any]) -> _Task:
        """A function as another thread is to run it."""
        return _Task(self, function)

    def start_thread(self, thread: threading.Thread, start: Callable[[], None]) -> None:
        """Start a thread, and let it come to its end first if it does not wait for anybody."""
        task = _Task(self, thread.run, is_thread=True)
        thread.run = task  # type: ignore[method-assign]
        try:
            start()
        finally:
            del thread.run
        self.await_task(task)

    def await_task(self, task: _Task) -> None:
        """Wait for a task while it gets on: what runs one after another comes out the same in each pass."""
        seen, still = -1, 0
        while not task.is_done.wait(PATIENCE):
            still = still + 1 if seen == self._count_events() else 0
            if still > (LONGEST_OP / PATIENCE if getattr(self.op_mode, "computing", 0) else 0):
                return
            seen = self._count_events()

    def _count_events(self) -> int:
        return len(self.recorder.recorded_ops) + len(self.calls.rows)

    def note_process(self) -> None:
        """What another process does is not seen: an op of unknown cost stands for it."""
        self.op_mode.record_function(PROCESS_OP, [], None, (), {})

    def find_reason(self, error: Any) -> Any:
        """Why the pass is run again: an error of a thread, whatever became of it there; else the error given."""
        return next(filter(self.repeats_after, self.errors), error)

    def raise_reason(self) -> None:
        """Raise the error of a thread after which the pass is run again."""
        reason = self.find_reason(None)
        if reason is not None:
            raise reason

    @property
    def notes(self) -> list[str]:
        """What the reader must know."""
        return [THREADS_NOTE] if self.is_shared else []


def _never(error: BaseException) -> bool:
    return False


class _Task:
    """A function that runs in another thread, inside the pass."""

    def __init__(self, of: PassThreads, function: Callable[..., Any], *, is_thread: bool = False) -> None:
        self.of, self.function, self.is_thread = of, function, is_thread
        self.row = of.calls.current_row
        self.is_done = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with self.of.enter(self.row):
                return self.function(*args, **kwargs)
        except BaseException as error:
            self.of.errors.append(error)
            if not (self.is_thread and self.of.repeats_after(error)):
                raise  # of a thread Python would print it, though the pass is run again
        finally:
            self.is_done.set()


class _ThreadMode(DispatchMode):
    """The mode of a thread, which hands all ops to that of the pass."""

    supports_higher_order_operators = True

    def __init__(self, op_mode: OpMode) -> None:
        super().__init__()
        self.op_mode = op_mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.op_mode.__torch_dispatch__(func, types, args, kwargs)


LOCK = threading.RLock()
"""Of what a pass writes down. One for all passes, of which only one runs at a time."""


class SharedCalls(Calls):
    """The calls of several threads, each with a stack of its own."""

    @property
    def stack(self) -> list[int]:
        own: list[int] = self._own_thread["stack"]
        return own

    @stack.setter
    def stack(self, value: list[int]) -> None:
        self._own_thread["stack"] = value

    @property
    def _own_thread(self) -> dict[str, Any]:
        return _local.__dict__ if "stack" in _local.__dict__ else self.__dict__

    def begin_call(self, node: ModuleNode, args: Any, kwargs: dict[str, Any]) -> None:
        with LOCK:
            super().begin_call(node, args, kwargs)

    def end_call(self, node: ModuleNode, output: Any) -> None:
        with LOCK:
            super().end_call(node, output)

    def abort_call(self, node: ModuleNode, error: BaseException) -> None:
        with LOCK:
            super().abort_call(node, error)


class SharedRecorder(Recorder):
    """A recorder that threads pause each for itself."""

    is_closed = False

    @property
    def recording(self) -> bool:
        return not self.is_closed and bool(self._own["recording"])

    @recording.setter
    def recording(self, value: bool) -> None:
        self._own["recording"] = value

    @property
    def last_node_number(self) -> int:
        return int(self._own["last_node_number"])

    @last_node_number.setter
    def last_node_number(self, value: int) -> None:
        self._own["last_node_number"] = value

    @property
    def _own(self) -> dict[str, Any]:
        """What the running thread has for itself: the first thread of the pass has it in the recorder."""
        return _local.__dict__ if "recording" in _local.__dict__ else self.__dict__

    def close(self) -> None:
        self.is_closed = True
        super().close()


class SharedOpMode(OpMode):
    """The mode that several threads hand their ops to. Autograd numbers its nodes by thread: each gets a mark here."""

    computing = 0

    def replay(self, key: CallKey | None, inputs: list[torch.Tensor]) -> Any:
        with LOCK:
            self.mark_nodes(inputs)
            return self._note_results(super().replay, key, inputs)

    def record_op(self, *args: Any) -> None:
        with LOCK:
            self.mark_nodes(args[1])
            self._note_results(super().record_op, *args)

    def _note_results(self, record: Callable[..., Any], *args: Any) -> Any:
        """Record an op, and remember of its results which row made them."""
        count = len(self.recorder.recorded_ops)
        result = record(*args)
        rows: dict[int, int] = self.__dict__.setdefault("_row_by_tensor", {})
        for _, row, _, _, written in self.recorder.recorded_ops[count:]:
            rows.update(dict.fromkeys(written, row))
        return result

    def mark_nodes(self, read: list[torch.Tensor]) -> None:
        """Note on the nodes that made these tensors whose they are; nothing is gone back to but what was read."""
        rows = self.__dict__.get("_row_by_tensor")
        recorder = self.recorder
        if self.calls.node_owners is None or not rows or recorder.phase != "forward" or not recorder.recording:
            return
        for tensor in read:
            node: Any = tensor.grad_fn
            row = rows.get(recorder.index_inputs([tensor])[0])
            if node is not None and row is not None:
                node.metadata.setdefault(ROW_MARK, row)

    def _compute_result(self, *args: Any) -> Any:
        with self._counted():
            return super()._compute_result(*args)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """An op runs, however long it takes."""
        with LOCK:
            self.computing += 1
        try:
            yield
        finally:
            with LOCK:
                self.computing -= 1

    def _find_row(self) -> int:
        if "stack" not in _local.__dict__:
            return super()._find_row()
        if self.calls.node_owners is not None:
            self.recorder.last_node_number = next_sequence_number() - 1
        return self.calls.current_row

    def _find_backward_row(self) -> int:
        node = find_running_node()
        marked: int | None = None if node is None else node.metadata.get(ROW_MARK)
        return super()._find_backward_row() if marked is None else marked
