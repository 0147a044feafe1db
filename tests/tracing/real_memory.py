"""What a real pass on the CPU holds while each op runs, by means that share nothing with archprof."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

NO_WORK = ("aten.detach.default", "aten.alias.default", "aten._to_copy.default")
"""Ops that autograd adds where it hands a kept tensor over, and hooks that move one to where it is."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bytes of all storages that are alive while each op runs: a weak reference tells when one is gone."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.sizes = 0, dict[int, int]()
        self.seen: list[tuple[str, int]] = []
        for tensor in tensors:
            self.hold(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import the compiler, whose import leaves frames, and tensors with them, behind

    def hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.sizes:
            self.sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self.let_go, storage._cdata)

    def let_go(self, address: int) -> None:
        self.now -= self.sizes.pop(address)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        for tensor in tensors:
            self.hold(tensor)
        if tensors and str(func) not in NO_WORK:
            self.seen.append((str(func), self.now))
        return result


@contextmanager
def collector_off() -> Iterator[None]:
    """What is freed is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure_live_bytes(model: nn.Module, inputs: list[torch.Tensor], *, train: bool) -> list[tuple[str, int]]:
    """Name and live bytes of each op of a real pass; the backward starts from ones."""
    model = copy.deepcopy(model).train(train)
    inputs = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in inputs]
    live = LiveBytes([*inputs, *model.parameters(), *model.buffers()])
    with collector_off(), live, torch.set_grad_enabled(train):
        output = model(*inputs)
        forward = len(live.seen)
        if train:
            roots = [leaf for leaf in pytree.tree_leaves(output) if leaf.requires_grad]
            seeds = [torch.ones_like(root) for root in roots]
            del live.seen[forward:]
            torch.autograd.backward(roots, seeds)
    return live.seen
