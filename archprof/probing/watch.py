"""Watches the calls of a model's modules in real passes, and takes the statistics of what they return."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from archprof.facts.probed import Activation
from archprof.facts.records import Profile
from archprof.probing.statistics import CallStatistics, UnitAxes, find_bounds, measure_rank
from archprof.torchside.private import count_writes
from archprof.torchside.tensors import tensors_in

CallKey = tuple[str, int]
"""A call by the path of its module and its number."""


class _Latest:
    """What the last call returned, if it was one tensor, and where its statistics are; it does not keep the tensor."""

    def __init__(self, output: Any, found: CallStatistics | None) -> None:
        self.found, self.version = found, 0
        self.tensor: weakref.ref[torch.Tensor] | None = None
        if isinstance(output, torch.Tensor) and not output.is_inference():
            self.tensor, self.version = weakref.ref(output), count_writes(output)

    def is_same(self, output: Any) -> bool:
        """Whether this is that tensor, into which nothing was written since."""
        tensor = self.tensor and self.tensor()
        return tensor is not None and tensor is output and count_writes(tensor) == self.version


class ActivationWatch:
    """Statistics of every call of the passes that run inside `watching`.

    A tensor is read when the call that returns it ends, so that what works in place behind it does not change its row.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.by_call: dict[CallKey, CallStatistics] = {}
        self._axes = UnitAxes()
        self._numbers: Counter[str] = Counter()
        self._passes = 0
        self._latest: _Latest | None = None
        self._shared: set[CallKey] = set()
        self._dropped: set[CallKey] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """One forward; the hooks are gone at its end, so that what a checkpoint runs again is not counted twice."""
        self._numbers.clear()
        hooks = []
        for path, module in self.model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                hooks.append(module.register_forward_pre_hook(partial(self._enter, path), prepend=True))
                hooks.append(module.register_forward_hook(partial(self._leave, path)))
        self._open: list[CallKey] = []
        self._latest = None
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._passes += 1

    def _enter(self, path: str, module: nn.Module, args: Any) -> None:
        self._open.append((path, self._numbers[path]))
        self._numbers[path] += 1

    def _leave(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        while self._open:
            key = self._open.pop()
            if key[0] == path:
                break  # those above it raised, and their caller went on
        else:
            return
        if find_bounds(module) is None and self._share(key, output):
            return
        with torch.no_grad():
            self._add(key, module, [each.detach() for each in tensors_in(output) if each.is_floating_point()])
        self._latest = _Latest(None if find_bounds(module) else output, self.by_call.get(key))

    def _share(self, key: CallKey, output: Any) -> bool:
        """Whether a call returns what the last one did, as containers do: then both have the same statistics."""
        latest, own = self._latest, self.by_call.get(key)
        if key in self._dropped:
            return True
        if latest is not None and latest.found is not None and latest.is_same(output):
            if own is None and not self._passes:
                self.by_call[key] = latest.found
                self._shared.add(key)
                return True
            return own is latest.found
        if key in self._shared and self._passes:  # in this batch it returns something else: its row is not known
            self._dropped.add(key)
            del self.by_call[key]
            return True
        return False

    def _add(self, key: CallKey, module: nn.Module, tensors: list[torch.Tensor]) -> None:
        for place, tensor in enumerate(tensors):
            if tensor.layout is not torch.strided or tensor.is_nested:
                continue
            found = self.by_call.setdefault(key, CallStatistics())
            found.add(tensor, None if place else self._axes.find(module, tensor.shape), find_bounds(module))
            if not place and not self._passes and tensor.dim() > 1:
                found.rank, found.rank_limit = measure_rank(tensor) or (None, None)

    def record(self, profile: Profile) -> tuple[tuple[Activation, ...], list[CallKey]]:
        """The statistics by the calls of a profile, and the calls that it does not have."""
        known = index_calls(profile)
        rows = [found.record(known[key]) for key, found in self.by_call.items() if key in known]
        return tuple(sorted(rows)), [key for key in self.by_call if key not in known]


def index_calls(profile: Profile) -> Mapping[CallKey, int]:
    """The index of each call, by path and number."""
    return {(profile.modules[call.module].path, call.number): index for index, call in enumerate(profile.calls)}
