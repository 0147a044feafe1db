"""Counts the bytes of real CPU storages while a model trains: the oracle of what a trace says is live."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import archprof
from archprof.facts.steps import StepKind, build_step, sum_step_bytes

UNLIKE_OPS = {
    torch.ops.aten.detach.default,  # a view, which watching what autograd keeps adds
    torch.ops.profiler._record_function_enter_new.default,
    torch.ops.profiler._record_function_exit._RecordFunction,
}
"""Ops that run only here, or only in a trace."""


class StorageCounter(TorchDispatchMode):
    """Bytes of all storages that are alive, noted after each op of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.noting = 0, True
        self.known: dict[int, weakref.ref[Any]] = {}
        self.steps: list[list[int]] = []

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        address, nbytes = storage._cdata, storage.nbytes()
        if address in self.known:
            return
        self.live += nbytes

        def forget(_: Any) -> None:
            self.live -= nbytes
            del self.known[address]

        self.known[address] = weakref.ref(storage, forget)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        result = func(*args, **(kwargs or {}))
        found = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        for leaf in found:
            self.add(leaf)
        if func not in UNLIKE_OPS and self.noting:
            self.steps[-1].append(self.live)
        return result


def train_for_real(
    model: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    make_optimizer: Callable[[Any], torch.optim.Optimizer],
    *,
    accumulate: int = 1,
    set_to_none: bool = True,
    steps: int = 3,
) -> list[list[int]]:
    """Live bytes after each op of each step; of several accumulated passes the last is noted."""
    optimizer = make_optimizer(model.train().parameters())
    counter = StorageCounter()
    made = [tensor for tensor in tree_leaves(list(optimizer.state.values())) if isinstance(tensor, torch.Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *inputs, *made):
        counter.add(tensor)

    def run_pass() -> Any:
        output = model(*inputs)
        counter.noting = False
        roots = [one for one in tree_leaves(output) if one.requires_grad]
        seeds = [torch.ones_like(root) for root in roots]
        counter.noting = True
        torch.autograd.backward(roots, seeds)
        return output

    with counter:
        for _ in range(steps):
            for _ in range(accumulate):
                counter.steps.append([])  # of several passes the last is kept
                kept = run_pass()
                if len(counter.steps) % accumulate:
                    del kept
            optimizer.step()
            del kept  # as in most programs, the output lives until the step is done
            counter.noting = False
            optimizer.zero_grad(set_to_none=set_to_none)
            counter.noting = True
    return counter.steps[accumulate - 1 :: accumulate]


def live_bytes(profile: archprof.Profile, kind: StepKind) -> list[int]:
    """After each op of a step; views that only watching autograd adds are left out."""
    step = build_step(profile, kind)
    return [
        live
        for live, op in zip(sum_step_bytes(profile, step), step.ops, strict=True)
        if profile.ops[op].name != "aten.detach"
    ]
