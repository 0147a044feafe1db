"""Trains small models that torch splits over a fake process group, in a process of its own; writes what each rank has.

`python split_for_real.py CASE:RANKS:RANK[:SHARDS] …` prints a JSON object, a key a case; with shards, FSDP2 cuts what
is left along another axis. It tells bytes of each parameter, gradient and
optimizer state, the collectives of one step, and the live bytes of real storages after each op of a step.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from split_models import CASES
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KINDS = {
    "_c10d_functional.all_reduce.default": "all-reduce",
    "_c10d_functional.all_gather_into_tensor.default": "all-gather",
    "_c10d_functional.reduce_scatter_tensor.default": "reduce-scatter",
    "_c10d_functional.all_to_all_single.default": "all-to-all",
    "_dtensor.shard_dim_alltoall.default": "all-to-all",
    "c10d.allreduce_.default": "all-reduce",
    "c10d.alltoall_base_.default": "all-to-all",
    "c10d._allgather_base_.default": "all-gather",
    "c10d._reduce_scatter_base_.default": "reduce-scatter",
}
SECOND = "c10d._reduce_scatter_base_.default"
"""Its second argument is the whole tensor, its first what it gives."""
PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


class Watch(TorchDispatchMode):
    """Collectives, and the bytes of all plain storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.known: dict[int, Any] = {}
        self.collectives: list[tuple[str, int]] = []
        self.seen: list[tuple[str, int]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def hold(self, value: Any) -> None:
        for leaf in tree_leaves(value):
            if type(leaf) in PLAIN and leaf.device.type == "cpu":
                self._hold_storage(leaf.untyped_storage())

    def _hold_storage(self, storage: Any) -> None:
        if storage._cdata not in self.known:
            nbytes = storage.nbytes()
            self.live += nbytes
            self.known[storage._cdata] = nbytes
            weakref.finalize(storage, self._forget, storage._cdata)

    def resize(self, storage: Any, size: int) -> None:
        """A storage is emptied, or filled again: FSDP does so without an op."""
        if storage._cdata in self.known:
            self.live += size - self.known[storage._cdata]
            self.known[storage._cdata] = size

    def _forget(self, address: int) -> None:
        self.live -= self.known.pop(address)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(kind not in PLAIN and kind.__name__ in ("DTensor", "AsyncCollectiveTensor") for kind in types):
            return NotImplemented
        self.hold((args, kwargs))
        result = func(*args, **(kwargs or {}))
        self.hold(result)
        if any(kind.__name__ == "FakeTensor" for kind in types):
            return result
        name = str(func)
        if name in KINDS:
            given = args[1] if name == SECOND else args[0]
            whole = result if name.startswith("_c10d") and KINDS[name] == "all-gather" else given
            whole = tree_leaves(whole)[0]
            self.collectives.append((KINDS[name], whole.numel() * whole.element_size()))
        self.seen.append((name, self.live))
        return result


def measure_bytes(tensor: torch.Tensor) -> int:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local.numel() * local.element_size()


@contextmanager
def watch_resizing(watch: Watch) -> Iterator[None]:
    plain = torch.UntypedStorage.resize_

    def resize(storage: Any, size: int) -> Any:
        watch.resize(storage, size)
        return plain(storage, size)

    torch.UntypedStorage.resize_ = resize
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = plain


def train(name: str, ranks: int, rank: int, shards: int = 1) -> dict[str, Any]:
    """Three steps of one rank; the last is told."""
    dist.init_process_group("fake", rank=rank, world_size=ranks * shards, store=FakeStore())
    try:
        mesh = init_device_mesh("cpu", (shards, ranks), mesh_dim_names=("fsdp", "tp"))
        torch.manual_seed(0)
        case = CASES[name]
        model = case.build().train()
        case.split(model, mesh["tp"])
        if shards > 1:
            for block in model.blocks:
                fully_shard(block, mesh=mesh["fsdp"])
            fully_shard(model, mesh=mesh["fsdp"])
        return run_steps(model, case.make_inputs())
    finally:
        dist.destroy_process_group()


def run_steps(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    watch = Watch()
    for one in (*model.parameters(), *model.buffers(), *inputs):
        watch.hold(one.to_local() if isinstance(one, DTensor) else one)
    gc.collect()
    gc.disable()
    with watch, watch_resizing(watch):
        for step in range(3):
            watch.collectives.clear()
            watch.seen.clear()
            given = model(*inputs)
            output = getattr(given, "logits", given)
            seed = torch.ones_like(output)
            torch.autograd.backward([output], [seed])
            del seed
            optimizer.step()
            del given, output
            if step < 2:
                optimizer.zero_grad()
    gc.enable()
    named = dict(model.named_parameters())
    states = {key: list(optimizer.state[one].values()) for key, one in named.items()}
    return {
        "parameters": {key: measure_bytes(one) for key, one in named.items()},
        "gradients": {key: measure_bytes(one.grad) for key, one in named.items() if one.grad is not None},
        "states": {key: sum(map(measure_bytes, values)) for key, values in states.items()},
        "collectives": watch.collectives,
        "seen": watch.seen,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = [(name, *map(int, numbers)) for name, *numbers in (one.split(":") for one in sys.argv[1:])]
    fork = multiprocessing.get_context("fork")  # DTensor remembers shapes of another rank
    with fork.Pool(1, maxtasksperchild=1) as pool:
        found = pool.starmap(train, asked, chunksize=1)
    json.dump(dict(zip(sys.argv[1:], found, strict=True)), sys.stdout)
