"""Counts the bytes of real storages while torch runs, and what it sends: an oracle that imports no archprof."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KINDS = {
    "_allgather_base_": ("all-gather", 0),
    "_reduce_scatter_base_": ("reduce-scatter", 1),
    "allreduce_": ("all-reduce", 0),
    "broadcast_": ("broadcast", 0),
    "all_reduce": ("all-reduce", 0),
}
"""Of each op that sends: what it is called here, and which argument is the whole tensor."""


class LiveCounter(TorchDispatchMode):
    """Bytes that are live, the most of them, and how many collectives of each kind and size there were.

    Storages are known by their address; each is counted when an op first gives or takes it, and until it is freed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.live = self.peak = 0
        self.sent: Counter[tuple[str, int]] = Counter()
        self.log: list[tuple[str, int]] = []

    def restart(self) -> None:
        """What is live now is the first peak."""
        self.peak = self.live
        self.sent.clear()
        self.log.clear()

    def add(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, unless it is known."""
        if isinstance(tensor, DTensor):
            tensor = tensor._local_tensor
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.live += storage.nbytes()
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self.sizes.pop(key)

    def resize(self, storage: torch.UntypedStorage, size: int) -> None:
        """A known storage has another size from now on."""
        key = storage._cdata
        if key in self.sizes:
            self.live += size - self.sizes[key]
            self.sizes[key] = size
            self.peak = max(self.peak, self.live)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it comes again, with the local tensors
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((result, args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor)
        self.peak = max(self.peak, self.live)
        self.log.append((str(func), self.live))
        kind, at = KINDS.get(func._schema.name.partition("::")[2], ("", 0))
        if kind and func.namespace in ("c10d", "_c10d_functional"):
            self.sent[kind, sum(one.numel() * one.itemsize for one in tree_leaves(args[at]))] += 1
        return result


@contextmanager
def watch_resizing(counter: LiveCounter) -> Iterator[None]:
    """Sharded modules free their parameters by `UntypedStorage.resize_`, which is no op."""
    plain = torch.UntypedStorage.resize_

    def resize(storage: torch.UntypedStorage, size: int) -> Any:
        counter.resize(storage, size)
        return plain(storage, size)

    torch.UntypedStorage.resize_ = resize  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = plain  # type: ignore[method-assign]
