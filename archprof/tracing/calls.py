"""Which module call the work belongs to, and what each module owns."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archprof.facts.records import Layer, TensorSpec
from archprof.torchside.call_entry import CallHooks
from archprof.torchside.held_weights import count_tensor_bytes, list_tensors
from archprof.torchside.private import (
    CALL_ENTRY,
    CALL_HOOK_TABLES,
    count_function_modes,
    get_own_call,
    has_call_entry,
    is_autocast_on,
    pop_function_mode,
    push_function_mode,
)
from archprof.torchside.tensors import tensors_in
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
    """One call of one module while it runs; `None` in `number` is a module that was never called."""

    node: ModuleNode
    depth: int
    call_index: int | None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


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


class Calls:
    """The stack of running module calls, and a row for each call made."""

    def __init__(self, model: nn.Module, recorder: Recorder) -> None:
        self.model, self.recorder = model, recorder
        self.rows: list[CallRow] = []
        self.stack: list[int] = []
        self.last_raised: tuple[BaseException | None, int] = (None, 0)
        self.has_lazy = False
        self.function_mode: Any = None  # the function mode of the pass
        self.autocast_seen = False
        self.nodes = {id(module): ModuleNode(self, path, module) for path, module in model.named_modules()}
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
        self.owned_tensors = self._collect_owned()

    def close(self) -> None:
        """Leave the modules: the model can be traced again, and is gone with its last user."""
        # Both know us, too: a pass would wait for the garbage collector, and real weights with it.
        self.function_mode, self.last_raised = None, (None, 0)
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

    def find_failed_row(self, error: BaseException) -> int:
        """The row in which an exception was raised."""
        known, row = self.last_raised
        return row if known is error else self.current_row

    def begin_call(self, node: ModuleNode, args: Any, kwargs: dict[str, Any]) -> None:
        """A call begins: it gets a row."""
        stack = self.stack
        if self.recorder.phase == "backward" and node.call_rows:
            stack.append(self._find_repeated_row(node))
            return
        inputs = tensors_in(args)
        if kwargs:
            inputs += tensors_in(kwargs)
        row = len(self.rows)
        self.rows.append(CallRow(node, len(stack), len(node.call_rows), self.recorder.find_specs(inputs)))
        node.add_call(row)
        stack.append(row)

    def call_unwatched(self, call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call torch's own code without the function mode, which would see each function go by, at a price."""
        if is_autocast_on():
            self.autocast_seen = True
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
        """A call was left by an exception, which is remembered where it came from."""
        if error is not self.last_raised[0]:
            self.last_raised = (error, self.current_row)
        self._pop_row(node)

    def _pop_row(self, node: ModuleNode) -> int:
        """The row of a call that ends; the root has emptied the stack when the pass was left from outside."""
        return self.stack.pop() if self.stack else node.call_rows[-1]

    def register_owned(self) -> None:
        """Write down the parameters and buffers, as what is there before the pass."""
        for tensor, is_param in itertools.chain(*self.owned_tensors.values()):
            self.recorder.add_tensor(tensor, "parameter" if is_param else "buffer")

    def register_lazy(self) -> None:
        """After the pass: a lazy parameter had no shape before it."""
        if self.has_lazy:
            self.owned_tensors = self._collect_owned()
            for tensor, is_param in itertools.chain(*self.owned_tensors.values()):
                self.recorder.set_role(tensor, "parameter" if is_param else "buffer")
        self._register_late()

    def _register_late(self) -> None:
        """Weights that no table held before the pass: of modules that the forward made, and of those in plain lists."""
        known = {id(tensor) for tensor, _ in itertools.chain(*self.owned_tensors.values())}
        for key, tensor, is_param in (*self._list_made_in_forward(), *self._list_used_parameters()):
            if id(tensor) not in known:
                known.add(id(tensor))
                self.owned_tensors.setdefault(key, []).append((tensor, is_param))
                self.recorder.set_role(tensor, "parameter" if is_param else "buffer")

    def _list_made_in_forward(self) -> Iterator[tuple[int, torch.Tensor, bool]]:
        """The tensors of modules that are new, each with the nearest module that was there before."""
        keys = {node.path: key for key, node in self.nodes.items()}
        for path, module in self.model.named_modules():
            if id(module) in self.nodes:
                continue
            while path not in keys:
                path = path.rpartition(".")[0]
            for tensor, is_param in list_tensors(module):
                yield keys[path], tensor, is_param

    def _list_used_parameters(self) -> Iterator[tuple[int, torch.Tensor, bool]]:
        """The parameters that ops read and no module has, each with the module that used it first."""
        for tensor, row in self.recorder.find_first_uses(nn.Parameter):
            yield id(self.rows[row].node.module), tensor, True

    def find_param_rows(self) -> dict[int, int]:
        """The row of each parameter's first owner, by the parameter's id."""
        called = ((key, node.call_rows[0]) for key, node in self.nodes.items() if node.call_rows)
        return {id(tensor): row for key, row in called for tensor, _ in self.owned_tensors.get(key, ())}

    def build_layers(self, *, whole: bool) -> tuple[tuple[Layer, ...], list[int]]:
        """The layers, and for each of `rows` where among them it stands.

        Where the forward came to its end (`whole`), modules that it never called follow the rows of
        the module that holds them.
        """
        kinds = {kind: _name_class(kind) for kind in {type(node.module) for node in self.nodes.values()}}
        layers: list[Layer] = []
        places = [0] * len(self.rows)
        for index, row in self._order_rows(whole):
            if index is not None:
                places[index] = len(layers)
            own = self.owned_tensors.get(id(row.node.module), ()) if not row.call_index else ()
            layers.append(_make_layer(row, kinds[type(row.node.module)], own))
        return tuple(layers), places

    def _collect_owned(self) -> dict[int, list[tuple[torch.Tensor, bool]]]:
        """Each module's own tensors (and whether each is a parameter), every tensor at its first owner only."""
        seen: set[int] = set()
        owned: dict[int, list[tuple[torch.Tensor, bool]]] = {}
        for key, node in self.nodes.items():
            for tensor, is_param in list_tensors(node.module):
                if id(tensor) in seen:
                    continue
                if is_lazy(tensor):
                    self.has_lazy = True
                    continue
                seen.add(id(tensor))
                owned.setdefault(key, []).append((tensor, is_param))
        return owned

    def _order_rows(self, whole: bool) -> Iterator[tuple[int | None, CallRow]]:
        """Calls in order, each module that was never called at the end of the call that should have held it."""
        uncalled = self._find_uncalled() if whole else {}
        open_rows: list[int] = []
        for index, row in enumerate(self.rows):
            while open_rows and self.rows[open_rows[-1]].depth >= row.depth:
                yield from self._rows_of_uncalled(uncalled, open_rows.pop())
            yield index, row
            open_rows.append(index)
        while open_rows:
            yield from self._rows_of_uncalled(uncalled, open_rows.pop())

    def _rows_of_uncalled(self, uncalled: dict[int, list[ModuleNode]], row: int) -> Iterator[tuple[None, CallRow]]:
        for node in uncalled.get(row, ()):
            yield None, CallRow(node, self.rows[row].depth + 1, None)

    def _find_uncalled(self) -> dict[int, list[ModuleNode]]:
        """Modules that were never called, by the row of their nearest called ancestor.

        A container that only holds others (a `ModuleList`) has nothing to show and is left out.
        """
        missing = [node for node in self.nodes.values() if not node.call_rows and not _only_holds_modules(node.module)]
        first = {node.path: node.call_rows[0] for node in self.nodes.values() if node.call_rows} if missing else {}
        by_row: dict[int, list[ModuleNode]] = {}
        for node in missing:
            path = node.path
            while path not in first:
                path = path.rpartition(".")[0]
            by_row.setdefault(first[path], []).append(node)
        return by_row


def _only_holds_modules(module: nn.Module) -> bool:
    """Whether a module only holds others."""
    return bool(module._modules) and not module._parameters and not module._buffers


def _name_class(kind: type) -> str:
    """The name of a class, behind that of its package where torch has another class of that name."""
    known = getattr(nn, kind.__name__, kind)
    same = known is kind or known.__module__ == kind.__module__  # as the class of an exported module
    return kind.__name__ if same else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _make_layer(row: CallRow, kind: str, own: list[tuple[torch.Tensor, bool]] | tuple[()]) -> Layer:
    if not own:
        return Layer(row.node.path, kind, row.depth, row.call_index, row.inputs, row.outputs)
    params = trainable = buffers = param_bytes = buffer_bytes = 0
    for tensor, is_param in own:
        numel = tensor.numel()
        nbytes = count_tensor_bytes(tensor)
        if is_param:
            params, param_bytes = params + numel, param_bytes + nbytes
            trainable += numel if tensor.requires_grad else 0
        else:
            buffers, buffer_bytes = buffers + numel, buffer_bytes + nbytes
    owned = (params, trainable, buffers, param_bytes, buffer_bytes)
    return Layer(row.node.path, kind, row.depth, row.call_index, row.inputs, row.outputs, *owned)
