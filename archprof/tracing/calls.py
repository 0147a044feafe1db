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
from archprof.torchside.tensors import tensors_in
from archprof.tracing.recorder import Recorder

autocast_enabled = torch._C._is_any_autocast_enabled
modes_on = torch._C._len_torch_function_stack
pop_mode = torch._C._pop_torch_function_stack
push_mode = torch._C._push_on_torch_function_stack

ENTRY = "_compiled_call_impl"
"""Where `nn.Module.__call__` looks for what to call in the place of the module's hooks and forward."""


def _plain_kinds() -> frozenset[type]:
    rooms = "activation batchnorm conv dropout flatten instancenorm linear normalization padding pixelshuffle pooling"
    found = (vars(getattr(nn.modules, room)).values() for room in rooms.split())
    kinds = {kind for values in found for kind in values if isinstance(kind, type) and issubclass(kind, nn.Module)}
    return frozenset(kinds - {nn.MultiheadAttention})


PLAIN_KINDS = _plain_kinds()
"""Modules of torch that call neither attention nor a recurrent function, which only a function mode sees whole."""

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks", "forward")


def _is_plain(module: nn.Module) -> bool:
    """Whether a call of it runs torch's own code alone."""
    state = module.__dict__
    return type(module) in PLAIN_KINDS and not any(map(state.get, HOOKS))


@dataclass(slots=True)
class Call:
    """One call of one module while it runs; `None` in `number` is a module that was never called."""

    node: Node
    depth: int
    number: int | None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class Node:
    """A module of the model, and which of `Calls.rows` are calls of it.

    It stands in the place where `nn.Module.__call__` looks for a compiled forward, so that every call
    of the module comes here first: unlike hooks, that needs no tables and costs next to nothing.
    """

    __slots__ = ("calls", "module", "of", "path", "plain", "repeated")

    def __init__(self, of: Calls, path: str, module: nn.Module) -> None:
        self.of, self.path, self.module, self.plain = of, path, module, _is_plain(module)
        self.calls: list[int] | tuple[int, ...] = ()
        self.repeated = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        called = sys._getframe(1).f_locals.get("self")  # `nn.Module.__call__` does not say whose entry it found
        if called is not self.module and isinstance(called, nn.Module):  # made in forward with our attributes
            return called._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
        of = self.of
        of.enter(self, args, kwargs)
        try:
            call: Callable[..., Any] = self.module._call_impl
            output = of.unwatched(call, args, kwargs) if self.plain else call(*args, **kwargs)
        except BaseException as error:
            of.broke(self, error)
            raise
        of.leave(self, output)
        return output

    def called(self, row: int) -> None:
        """Most modules are called once, for which a list of their own would be a burden on the collector."""
        if isinstance(self.calls, list):
            self.calls.append(row)
        else:
            self.calls = [*self.calls, row] if self.calls else (row,)

    def __deepcopy__(self, memo: Any) -> None:
        """A module that is copied in forward works for its caller's row."""


class Calls:
    """The stack of running module calls, and a row for each call made."""

    def __init__(self, model: nn.Module, recorder: Recorder) -> None:
        self.model, self.recorder = model, recorder
        self.rows: list[Call] = []
        self.stack: list[int] = []
        self.raised: tuple[BaseException | None, int] = (None, 0)
        self.lazy = False
        self.watch: Any = None  # the function mode of the pass
        self.autocast = False
        self.nodes = {id(module): Node(self, path, module) for path, module in model.named_modules()}
        for node in self.nodes.values():
            # The model itself is opened and closed by `root`, since it may have its own `__call__`;
            # TorchScript cannot be entered, so that its work is its caller's.
            if node.module is not model and not isinstance(node.module, torch.jit.ScriptModule):
                node.module.__dict__[ENTRY] = node
        self.owned = self._owned()

    def close(self) -> None:
        """Leave the modules: the model can be traced again, and is gone with its last user."""
        # Both know us, too: a pass would wait for the garbage collector, and real weights with it.
        self.watch, self.raised = None, (None, 0)
        for node in self.nodes.values():
            node.module.__dict__.pop(ENTRY, None)
            del node.of

    @property
    def now(self) -> int:
        """The row that work done now belongs to; the model's own row outside any call."""
        return self.stack[-1] if self.stack else 0

    @contextmanager
    def root(self, args: Any, kwargs: dict[str, Any]) -> Iterator[Callable[[Any], None]]:
        """The call of the model itself; give its output to the function that comes out."""
        node = self.nodes[id(self.model)]
        self.enter(node, args, kwargs)
        try:
            yield lambda output: self.leave(node, output)
        finally:
            self.stack.clear()

    def where(self, error: BaseException) -> int:
        """The row in which an exception was raised."""
        known, row = self.raised
        return row if known is error else self.now

    def enter(self, node: Node, args: Any, kwargs: dict[str, Any]) -> None:
        """A call begins: it gets a row."""
        stack = self.stack
        if self.recorder.phase == "backward" and node.calls:
            stack.append(self._again(node))
            return
        inputs = tensors_in(args)
        if kwargs:
            inputs += tensors_in(kwargs)
        row = len(self.rows)
        self.rows.append(Call(node, len(stack), len(node.calls), self.recorder.specs(inputs)))
        node.called(row)
        stack.append(row)

    def unwatched(self, call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call torch's own code without the function mode, which would see each function go by, at a price."""
        if autocast_enabled():
            self.autocast = True
        if self.watch is None or not modes_on():
            return call(*args, **kwargs)
        mode: Any = pop_mode()
        if mode is not self.watch:  # the user's own, which must see all
            push_mode(mode)
            return call(*args, **kwargs)
        try:
            return call(*args, **kwargs)
        finally:
            push_mode(mode)

    def _again(self, node: Node) -> int:
        """The row of a call that a checkpoint repeats in the backward pass, which goes from the last to the first."""
        node.repeated += 1
        return node.calls[-1 - (node.repeated - 1) % len(node.calls)]

    def leave(self, node: Node, output: Any) -> None:
        """A call came to its end."""
        mine = self._popped(node)
        outputs = tensors_in(output)
        self.recorder.returned(outputs)
        self.rows[mine].outputs = self.recorder.specs(outputs)

    def broke(self, node: Node, error: BaseException) -> None:
        """A call was left by an exception, which is remembered where it came from."""
        if error is not self.raised[0]:
            self.raised = (error, self.now)
        self._popped(node)

    def _popped(self, node: Node) -> int:
        """The row of a call that ends; the root has emptied the stack when the pass was left from outside."""
        return self.stack.pop() if self.stack else node.calls[-1]

    def register(self) -> None:
        """Write down the parameters and buffers, as what is there before the pass."""
        for tensor, is_param in itertools.chain(*self.owned.values()):
            self.recorder.add(tensor, "parameter" if is_param else "buffer")

    def materialised(self) -> None:
        """After the pass: a lazy parameter had no shape before it."""
        if self.lazy:
            self.owned = self._owned()
            for tensor, is_param in itertools.chain(*self.owned.values()):
                self.recorder.becomes(tensor, "parameter" if is_param else "buffer")

    def param_rows(self) -> dict[int, int]:
        """The row of each parameter's first owner, by the parameter's id."""
        called = ((key, node.calls[0]) for key, node in self.nodes.items() if node.calls)
        return {id(tensor): row for key, row in called for tensor, _ in self.owned.get(key, ())}

    def finish(self, *, whole: bool) -> tuple[tuple[Layer, ...], list[int]]:
        """The layers, and for each of `rows` where among them it stands.

        Where the forward came to its end (`whole`), modules that it never called follow the rows of
        the module that holds them.
        """
        kinds = {kind: _kind(kind) for kind in {type(node.module) for node in self.nodes.values()}}
        layers: list[Layer] = []
        places = [0] * len(self.rows)
        for index, row in self._order(whole):
            if index is not None:
                places[index] = len(layers)
            own = self.owned.get(id(row.node.module), ()) if not row.number else ()
            layers.append(_layer(row, kinds[type(row.node.module)], own))
        return tuple(layers), places

    def _owned(self) -> dict[int, list[tuple[torch.Tensor, bool]]]:
        """Each module's own tensors (and whether each is a parameter), every tensor at its first owner only."""
        seen: set[int] = set()
        owned: dict[int, list[tuple[torch.Tensor, bool]]] = {}
        for key, node in self.nodes.items():
            for table, is_param in ((node.module._parameters, True), (node.module._buffers, False)):
                for tensor in table.values():
                    if tensor is None or id(tensor) in seen:
                        continue
                    if is_lazy(tensor):
                        self.lazy = True
                        continue
                    seen.add(id(tensor))
                    owned.setdefault(key, []).append((tensor, is_param))
        return owned

    def _order(self, whole: bool) -> Iterator[tuple[int | None, Call]]:
        """Calls in order, each module that was never called at the end of the call that should have held it."""
        uncalled = self._uncalled() if whole else {}
        open_rows: list[int] = []
        for index, row in enumerate(self.rows):
            while open_rows and self.rows[open_rows[-1]].depth >= row.depth:
                yield from self._rest(uncalled, open_rows.pop())
            yield index, row
            open_rows.append(index)
        while open_rows:
            yield from self._rest(uncalled, open_rows.pop())

    def _rest(self, uncalled: dict[int, list[Node]], row: int) -> Iterator[tuple[None, Call]]:
        for node in uncalled.get(row, ()):
            yield None, Call(node, self.rows[row].depth + 1, None)

    def _uncalled(self) -> dict[int, list[Node]]:
        """Modules that were never called, by the row of their nearest called ancestor.

        A container that only holds others (a `ModuleList`) has nothing to show and is left out.
        """
        missing = [node for node in self.nodes.values() if not node.calls and not _is_bare(node.module)]
        first = {node.path: node.calls[0] for node in self.nodes.values() if node.calls} if missing else {}
        by_row: dict[int, list[Node]] = {}
        for node in missing:
            path = node.path
            while path not in first:
                path = path.rpartition(".")[0]
            by_row.setdefault(first[path], []).append(node)
        return by_row


def _is_bare(module: nn.Module) -> bool:
    """Whether a module only holds others."""
    return bool(module._modules) and not module._parameters and not module._buffers


def _kind(kind: type) -> str:
    """The name of a class, behind that of its package where torch has another class of that name."""
    known = getattr(nn, kind.__name__, kind)
    same = known is kind or known.__module__ == kind.__module__  # as the class of an exported module
    return kind.__name__ if same else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _layer(row: Call, kind: str, own: list[tuple[torch.Tensor, bool]] | tuple[()]) -> Layer:
    if not own:
        return Layer(row.node.path, kind, row.depth, row.number, row.inputs, row.outputs)
    params = trainable = buffers = param_bytes = buffer_bytes = 0
    for tensor, is_param in own:
        numel = tensor.numel()
        nbytes = numel * tensor.element_size()
        if is_param:
            params, param_bytes = params + numel, param_bytes + nbytes
            trainable += numel if tensor.requires_grad else 0
        else:
            buffers, buffer_bytes = buffers + numel, buffer_bytes + nbytes
    owned = (params, trainable, buffers, param_bytes, buffer_bytes)
    return Layer(row.node.path, kind, row.depth, row.number, row.inputs, row.outputs, *owned)
