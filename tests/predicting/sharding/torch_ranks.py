"""What torch itself does on one rank, with its fake process group: the oracle, run as a process of its own.

Reads cases as JSON lines, writes what each rank holds, sends and has live at its peak. It imports no archprof.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections import Counter
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KINDS = {
    "_allgather_base_": ("all-gather", 0), "_reduce_scatter_base_": ("reduce-scatter", 1),
    "allreduce_": ("all-reduce", 0), "broadcast_": ("broadcast", 0),
}  # fmt: skip
"""Of each op of c10d: what it is called here, and which argument is the whole tensor."""


class LiveCounter(TorchDispatchMode):
    """Bytes of real storages, which also sees when one is resized, and what goes over the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.live = self.peak = 0
        self.sent: Counter[tuple[str, int]] = Counter()
        self.log: list[tuple[str, int]] | None = None

    def add(self, tensor: torch.Tensor) -> None:
        if isinstance(tensor, DTensor):
            tensor = tensor._local_tensor
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.live += storage.nbytes()
            weakref.finalize(storage, self.drop, key)

    def drop(self, key: int) -> None:
        self.live -= self.sizes.pop(key)

    def resize(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self.sizes:
            self.live += size - self.sizes[key]
            self.sizes[key] = size
            self.peak = max(self.peak, self.live)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((result, args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor)
        self.peak = max(self.peak, self.live)
        if self.log is not None:
            self.log.append((str(func), self.live))
        if func.namespace == "c10d":
            name, at = KINDS[func._schema.name.partition("::")[2]]
            whole = tree_leaves(args[at])
            self.sent[name, sum(one.numel() * one.itemsize for one in whole)] += 1
        return result


@contextmanager
def watch_resizing(counter: LiveCounter) -> Any:
    plain = torch.UntypedStorage.resize_

    def resize(storage: torch.UntypedStorage, size: int) -> Any:
        counter.resize(storage, size)
        return plain(storage, size)

    torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = plain  # type: ignore[method-assign]


def wrap_fully(model: torch.nn.Module, case: dict[str, Any]) -> None:
    shape = [case["fsdp"]] if case["dp"] == 1 else [case["dp"], case["fsdp"]]
    mesh = init_device_mesh("cpu", tuple(shape), mesh_dim_names=("fsdp",) if len(shape) == 1 else ("dp", "fsdp"))
    policy = MixedPrecisionPolicy(
        param_dtype=case.get("param_dtype") and getattr(torch, case["param_dtype"]),
        reduce_dtype=case.get("reduce_dtype") and getattr(torch, case["reduce_dtype"]),
    )
    options = {"mesh": mesh, "reshard_after_forward": case.get("reshard"), "mp_policy": policy}
    modules = dict(model.named_modules())
    for path in sorted(case["units"], key=lambda path: -path.count(".")):
        if path:
            fully_shard(modules[path], **options)
    fully_shard(model, **options)
    assert isinstance(model, FSDPModule)


def run_step(model: Any, optimizer: Any, inputs: Any, passes: int, counter: LiveCounter) -> None:
    args, kwargs = inputs
    for _ in range(passes):
        counter.sent.clear()
        out = model(*args, **kwargs)
        roots = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor) and one.requires_grad]
        seeds = [torch.ones_like(one) for one in roots]
        torch.autograd.backward(roots, seeds)
        if passes > 1:
            del out, roots, seeds
    if optimizer is not None:
        optimizer.step()


def sum_bytes(tensors: Any) -> tuple[int, int]:
    """Of the tensors themselves, and of the storages in which they lie."""
    local = [one.to_local() if isinstance(one, DTensor) else one for one in tensors]
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in local}
    return sum(one.numel() * one.itemsize for one in local), sum(storages.values())


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    from small_models import MODELS

    ranks = case["dp"] * case["fsdp"]
    dist.init_process_group("fake", rank=case["rank"], world_size=ranks, store=FakeStore())
    try:
        torch.manual_seed(0)
        model, args, kwargs = MODELS[case["model"]]()
        wrapped = WRAPPERS[case["level"]](model, case) or model
        return measure(wrapped, args, kwargs, case)
    finally:
        dist.destroy_process_group()


def measure(model: Any, args: Any, kwargs: Any, case: dict[str, Any]) -> dict[str, Any]:
    counter = LiveCounter()
    optimizer = None if case["optimizer"] is None else make_optimizer(model, case)
    for tensor in [*model.parameters(), *model.buffers(), *tree_leaves((args, kwargs))]:
        if isinstance(tensor, torch.Tensor):
            counter.add(tensor)
    parameter_bytes = sum_bytes(model.parameters())
    train = case.get("train", True)
    model.train(train)
    with counter, watch_resizing(counter), torch.set_grad_enabled(train):
        for _ in range(2 + 1):
            counter.peak = counter.live
            counter.sent.clear()
            counter.log = [] if case.get("log") else None
            if train:
                run_step(model, optimizer, (args, kwargs), case.get("passes", 1), counter)
            else:
                model(*args, **kwargs)
            grads = [one.grad for one in model.parameters() if one.grad is not None]
            gradient_bytes = sum_bytes(grads)
            del grads
            model.zero_grad(set_to_none=True)
    state = [] if optimizer is None else [one for each in optimizer.state.values() for one in each.values()]
    return {
        "parameters": parameter_bytes, "gradients": gradient_bytes,
        "state": sum_bytes(state), "peak": counter.peak, "log": counter.log,
        "sent": sorted([*kind, count] for kind, count in counter.sent.items()),
    }  # fmt: skip


def make_optimizer(model: Any, case: dict[str, Any]) -> Any:
    trained = [one for one in model.parameters() if one.requires_grad]
    return getattr(torch.optim, case["optimizer"])(trained, foreach=True)


WRAPPERS: dict[str, Any] = {"zero3": wrap_fully, "zero2": wrap_fully}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(run_case(json.loads(line))), flush=True)  # noqa: T201  the answer
