"""Which module call the work belongs to, and what each module owns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import nn

from archprof.facts.records import Call, TensorSpec
from archprof.torchside.call_entry import CallHooks
from archprof.torchside.meta_kernels import keep_ops_whole
from archprof.torchside.module_walk import walk_modules
from archprof.torchside.private import (
    CALL_ENTRY,
    CALL_HOOK_TABLES,
    check_autograd,
    count_function_modes,
    get_own_call,
    has_call_entry,
    pop_function_mode,
    push_function_mode,
)
from archprof.torchside.tensors import tensors_in
from archprof.tracing.inventory import Inventory
from archprof.tracing.node_owners import NodeOwners
from archprof.tracing.recorder import Recorder


def _find_unwatched_kinds() -> frozenset[type]:
    rooms = "activation batchnorm conv dropout flatten instancenorm linear normalization padding pixelshuffle pooling"
    found = (vars(getattr(nn.modules, room)).values() for room in rooms.split())
    kinds = {kind for values in found for kind in values if isinstance(kind, type) and issubclass(kind, nn.Module)}
    return frozenset(kinds - {nn.MultiheadAttention})


UNWATCHED_KINDS = _find_unwatched_kinds()
"""Modules of torch that call neither attention nor a recurrent function, which only a function mode sees whole."""

HOOK_ATTRIBUTES = (*CALL_HOOK_TABLES, "forward")


def _runs_only_torch_code(module: nn.Module) -> bool:
    """Whether a call of it runs torch's own code alone."""
    state = module.__dict__
    return type(module) in UNWATCHED_KINDS and not any(map(state.get, HOOK_ATTRIBUTES))


@dataclass(slots=True)
class CallRow:
    """One call of one module while it runs, and the row that made it."""

    node: ModuleNode
    parent: int | None
    number: int
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


# What `_make` does, without a function of Python in between: they are made by the thousand.
new_call: Callable[[Iterable[Any]], Call] = partial(tuple.__new__, Call)


class ModuleNode:
    """A module of the model, and which of `Calls.rows` are calls of it.

    It stands in the place where `nn.Module.__call__` looks for a compiled forward, so that every call
    of the module comes here first: unlike hooks, that needs no tables and costs next to nothing.
    Where torch does not look there, hooks call `begin`, `end` and `abort`.
    """

    __slots__ = ("all_calls", "call_rows", "module", "path", "replay_count", "runs_unwatched")

    def __init__(self, of: Calls, path: str, module: nn.Module) -> None:
        self.all_calls, self.path, self.module, self.runs_unwatched = of, path, module, _runs_only_torch_code(module)
        self.call_rows: list[int] | tuple[int, ...] = ()
        self.replay_count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        called = sys._getframe(1).f_locals.get("self")  # `nn.Module.__call__` does not say whose entry it found
        if called is not self.module and isinstance(called, nn.Module):  # made in forward with our attributes
            return get_own_call(called)(*args, **kwargs)
        of = self.all_calls
        if get_ident() != of.thread and not of.find_threads().is_inside():
            with of.find_threads().enter(0):
                return nn.Module.__call__(self.module, *args, **kwargs)
        of.begin_call(self, args, kwargs)
        try:
            call = get_own_call(self.module)
            output = of.call_unwatched(call, args, kwargs) if self.runs_unwatched else call(*args, **kwargs)
        except BaseException as error:
            of.abort_call(self, error)
            raise
        of.end_call(self, output)
        return output

    def begin(self, args: Any, kwargs: dict[str, Any]) -> None:
        self.all_calls.begin_call(self, args, kwargs)

    def end(self, output: Any) -> None:
        self.all_calls.end_call(self, output)

    def abort(self, error: BaseException) -> None:
        self.all_calls.abort_call(self, error)

    def add_call(self, row: int) -> None:
        """Most modules are called once, for which a list of their own would be a burden on the collector."""
        if isinstance(self.call_rows, list):
            self.call_rows.append(row)
        else:
            self.call_rows = [*self.call_rows, row] if self.call_rows else (row,)

    def __deepcopy__(self, memo: Any) -> None:
        """A module that is copied in forward works for its caller's row."""


class _Witness:
    """Notes that a call was seen."""

    def __init__(self) -> None:
        self.seen = False

    def begin(self, *_: Any) -> None:
        self.seen = True

    end = abort = begin


def _sees_calls(by_entry: bool) -> bool:
    """Whether a call of a module comes to us in the way in which those of the model are to come."""
    probe, witness = nn.Module(), _Witness()
    probe.forward = lambda: None
    if by_entry:
        probe.__dict__[CALL_ENTRY] = witness.begin
    else:
        CallHooks(probe, witness)
    probe()
    return witness.seen


class Calls:
    """The stack of running module calls, and a row for each call made."""

    def __init__(self, model: nn.Module, recorder: Recorder, find_threads: Callable[[], Any]) -> None:
        self.model, self.recorder, self.thread, self.find_threads = model, recorder, get_ident(), find_threads
        self.rows: list[CallRow] = []
        self.stack: list[int] = []
        self._row_mark = f"_archprof_row_{id(self)}"  # under which an exception tells where it was raised
        self.function_mode: Any = None  # the function mode of the pass
        self.node_owners: NodeOwners | None = None  # while gradients may be on
        self.in_backward, self.caller_row = False, 0  # whether autograd's nodes run, and for which row
        self.decisions: set[str] = set()  # the control flow in which values decided
        self.hides_blocks = False  # a block mask had no values
        self.took_gradients = False  # the forward did
        self.refused_gradient = self.missed_node = False  # what was asked of a tensor without a gradient
        self._param_rows: dict[int, int] = {}
        self.nodes = {id(module): ModuleNode(self, path, module) for path, module in walk_modules(model)}
        self._hooks: list[CallHooks] = []
        by_entry = has_call_entry()
        for node in self.nodes.values():
            # The model itself is opened and closed by `root`, since it may have its own `__call__`;
            # TorchScript cannot be entered, so that its work is its caller's.
            if node.module is not model and not isinstance(node.module, torch.jit.ScriptModule):
                if by_entry:
                    node.module.__dict__[CALL_ENTRY] = node
                else:
                    self._hooks.append(CallHooks(node.module, node))
        self.sees_calls = _sees_calls(by_entry)
        self.inventory = Inventory(model, self.nodes, self.rows, recorder)

    def close(self) -> None:
        """Leave the modules: the model can be traced again, and is gone with its last user."""
        self.function_mode = None  # it knows us, too: a pass would wait for the collector, and real weights with it
        del self.find_threads
        for hooks in self._hooks:
            hooks.remove()
        self._hooks.clear()
        for node in self.nodes.values():
            node.module.__dict__.pop(CALL_ENTRY, None)
            del node.all_calls

    @property
    def current_row(self) -> int:
        """The row that work done now belongs to; the model's own row outside any call."""
        return self.stack[-1] if self.stack else 0

    @contextmanager
    def open_root(self, args: Any, kwargs: dict[str, Any]) -> Iterator[Callable[[Any], None]]:
        """The call of the model itself; give its output to the function that comes out."""
        node = self.nodes[id(self.model)]
        self.begin_call(node, args, kwargs)
        try:
            yield lambda output: self.end_call(node, output)
        finally:
            self.stack.clear()

    def watch_nodes(self) -> None:
        """From here on autograd may make nodes: it is written down whose they are, and what they run stays whole."""
        if self.node_owners is None:
            check_autograd()
            keep_ops_whole()
            self.node_owners = NodeOwners()

    @contextmanager
    def open_backward(self) -> Iterator[None]:
        """Inside, nodes of autograd run: work is theirs unless they call modules, as a checkpoint does."""
        before = self.stack, self.in_backward, self.caller_row
        self.caller_row = self.stack[-1] if self.stack else self.caller_row
        self.stack, self.in_backward = [], True
        try:
            yield
        finally:
            self.stack, self.in_backward, self.caller_row = before

    def find_param_row(self, parameter: torch.Tensor) -> int:
        """The row of a parameter's first owner; that of the caller of the backward pass where it has none."""
        if id(parameter) not in self._param_rows:
            self._param_rows = self.inventory.find_param_rows()
        return self._param_rows.setdefault(id(parameter), self.caller_row)

    def find_failed_row(self, error: BaseException) -> int:
        """The row in which an exception was raised."""
        return int(error.__dict__.get(self._row_mark, self.current_row))

    def begin_call(self, node: ModuleNode, args: Any, kwargs: dict[str, Any]) -> None:
        """A call begins: it gets a row."""
        stack = self.stack
        if self.in_backward and node.call_rows:
            stack.append(self._find_repeated_row(node))
            return
        inputs = tensors_in(args)
        if kwargs:
            inputs += tensors_in(kwargs)
        row = len(self.rows)
        parent = stack[-1] if stack else None
        self.rows.append(CallRow(node, parent, len(node.call_rows), self.recorder.find_specs(inputs)))
        node.add_call(row)
        stack.append(row)

    def call_unwatched(self, call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call torch's own code without the function mode, which would see each function go by, at a price."""
        if self.function_mode is None or not count_function_modes():
            return call(*args, **kwargs)
        mode: Any = pop_function_mode()
        if mode is not self.function_mode:  # the user's own, which must see all
            push_function_mode(mode)
            return call(*args, **kwargs)
        try:
            return call(*args, **kwargs)
        finally:
            push_function_mode(mode)

    def _find_repeated_row(self, node: ModuleNode) -> int:
        """The row of a call that a checkpoint repeats in the backward pass, which goes from the last to the first."""
        node.replay_count += 1
        return node.call_rows[-1 - (node.replay_count - 1) % len(node.call_rows)]

    def end_call(self, node: ModuleNode, output: Any) -> None:
        """A call came to its end."""
        mine = self._pop_row(node)
        outputs = tensors_in(output)
        self.recorder.note_returned(outputs)
        self.rows[mine].outputs = self.recorder.find_specs(outputs)

    def abort_call(self, node: ModuleNode, error: BaseException) -> None:
        """A call was left by an exception, which is told where it was raised.

        It is not kept: its traceback holds what the frames hold, which a model that catches it goes on without.
        """
        error.__dict__.setdefault(self._row_mark, self.current_row)
        self._pop_row(node)

    def _pop_row(self, node: ModuleNode) -> int:
        """The row of a call that ends; the root has emptied the stack when the pass was left from outside."""
        return self.stack.pop() if self.stack else node.call_rows[-1]

    def build_calls(self) -> tuple[Call, ...]:
        """The calls, in the order in which they began."""
        numbers = {key: index for index, key in enumerate(self.nodes)}
        return tuple(
            [
                new_call((numbers[id(row.node.module)], row.parent, row.number, row.inputs, row.outputs))
                for row in self.rows
            ]
        )
