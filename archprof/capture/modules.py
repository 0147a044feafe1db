"""Which module call the work belongs to, and what each module owns."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from archprof.capture.recorder import Recorder, dtype_name, tensors_in
from archprof.records import ITEM_BYTES, Layer, TensorSpec


@dataclass(slots=True)
class Call:
    """One call of one module while it runs; `None` in `number` is a module that was never called."""

    node: Node
    depth: int
    number: int | None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


@dataclass(slots=True)
class Node:
    """A module of the model, and which of `Calls.rows` are calls of it."""

    path: str
    module: nn.Module
    calls: list[int] = field(default_factory=list)
    repeated: int = 0


class Calls:
    """The stack of running module calls, and a row for each call made."""

    def __init__(self, model: nn.Module, recorder: Recorder, *, keep_hooks: bool = False) -> None:
        self.model, self.recorder = model, recorder
        self.rows: list[Call] = []
        self.stack: list[int] = []
        self.raised: tuple[BaseException | None, int] = (None, 0)
        self.hooks: list[RemovableHandle] = []
        self.lazy = False
        enter, leave = self._enter, self._leave
        self.nodes = {id(module): Node(path, module) for path, module in model.named_modules()}
        for node in self.nodes.values():
            # The model itself is opened and closed by `root`, since it may have its own `__call__`;
            # TorchScript takes no hooks, so that its work is its caller's.
            if node.module is not model and not isinstance(node.module, torch.jit.ScriptModule):
                before = node.module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True)
                after = node.module.register_forward_hook(leave, always_call=True)
                if keep_hooks:
                    self.hooks += (before, after)
        self.owned = self._owned()

    def close(self) -> None:
        """Take the hooks that were kept away: the model can be traced again."""
        for hook in self.hooks:
            hook.remove()

    def __deepcopy__(self, memo: Any) -> Calls:
        return self  # a module that is copied in forward takes its hooks, and so us, along

    @property
    def now(self) -> int:
        """The row that work done now belongs to; the model's own row outside any call."""
        return self.stack[-1] if self.stack else 0

    @contextmanager
    def root(self, args: Any, kwargs: dict[str, Any]) -> Iterator[Callable[[Any], None]]:
        """The call of the model itself; give its output to the function that comes out."""
        self._enter(self.model, args, kwargs)
        try:
            yield lambda output: self._leave(self.model, args, output)
        finally:
            self.stack.clear()

    def where(self, error: BaseException) -> int:
        """The row in which an exception was raised."""
        known, row = self.raised
        return row if known is error else self.now

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        node = self.nodes.get(id(module))
        if node is None:  # copied in forward, with our hook: its work is the caller's
            return
        if self.recorder.phase == "backward" and node.calls:
            self.stack.append(self._again(node))
            return
        with torch._C.DisableTorchFunction():  # under a function mode each .shape would be a call to it
            inputs = [*tensors_in(args), *tensors_in(kwargs)] if kwargs else tensors_in(args)
            specs = tuple([self.recorder.spec(tensor) for tensor in inputs])
        row = len(self.rows)
        self.rows.append(Call(node, len(self.stack), len(node.calls), specs))
        node.calls.append(row)
        self.stack.append(row)

    def _again(self, node: Node) -> int:
        """The row of a call that a checkpoint repeats in the backward pass, which goes from the last to the first."""
        node.repeated += 1
        return node.calls[-1 - (node.repeated - 1) % len(node.calls)]

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        node = self.nodes.get(id(module))
        if node is None or not self.stack:
            return
        error = sys.exc_info()[1]
        if error is not None and error is not self.raised[0]:
            self.raised = (error, self.stack[-1])
        while self.rows[mine := self.stack.pop()].node is not node and self.stack:
            pass  # an inner call without its end: its hooks were taken away while it ran
        with torch._C.DisableTorchFunction():
            outputs = tensors_in(output)
            self.recorder.returned(outputs)
            self.rows[mine].outputs = tuple([self.recorder.spec(tensor) for tensor in outputs])

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
        layers: list[Layer] = []
        places = [0] * len(self.rows)
        for index, row in self._order(whole):
            if index is not None:
                places[index] = len(layers)
            own = self.owned.get(id(row.node.module), ()) if not row.number else ()
            layers.append(_layer(row, own))
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
        first = {node.path: node.calls[0] for node in self.nodes.values() if node.calls}
        by_row: dict[int, list[Node]] = {}
        for node in self.nodes.values():
            module = node.module
            bare = bool(module._modules) and not module._parameters and not module._buffers
            if node.calls or bare:
                continue
            path = node.path
            while path not in first:
                path = path.rpartition(".")[0]
            by_row.setdefault(first[path], []).append(node)
        return by_row


def _layer(row: Call, own: Any) -> Layer:
    params = [tensor for tensor, is_param in own if is_param]
    buffers = [tensor for tensor, is_param in own if not is_param]
    return Layer(
        path=row.node.path,
        kind=type(row.node.module).__name__,
        depth=row.depth,
        call=row.number,
        inputs=row.inputs,
        outputs=row.outputs,
        params=sum([tensor.numel() for tensor in params]),
        trainable=sum([tensor.numel() for tensor in params if tensor.requires_grad]),
        buffers=sum([tensor.numel() for tensor in buffers]),
        param_bytes=sum([_nbytes(tensor) for tensor in params]),
        buffer_bytes=sum([_nbytes(tensor) for tensor in buffers]),
    )


def _nbytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * ITEM_BYTES[dtype_name(tensor.dtype)]
