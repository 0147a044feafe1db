"""The user's own tensors while a pass runs on their twins: nothing may write to them, and nothing shall have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.torchside.module_walk import walk_modules
from archprof.torchside.private import count_writes, find_address, list_written
from archprof.torchside.tensors import has_values, tensors_in
from archprof.wording import name_few

SMALL = 2**16
"""Elements up to which a buffer is compared by its values: a fused batch norm writes statistics without a version."""


class WouldChangeModel(BaseException):
    """The forward is about to write to a tensor of the user's. No `except Exception` of a model hides it."""


class WatchedModel:
    """What there is of the user's tensors before a pass."""

    def __init__(self, model: nn.Module) -> None:
        self.versions: list[tuple[str, torch.Tensor, int]] = []
        self.names: dict[int, str] = {}
        self.copies: list[tuple[str, torch.Tensor, torch.Tensor]] = []
        for name, tensor in _list_tensors(model):
            with suppress(RuntimeError, NotImplementedError):  # without a version, or without a storage
                self.versions.append((name, tensor, count_writes(tensor)))
                self.names[find_address(tensor.untyped_storage())] = name
                if type(tensor) is torch.Tensor and tensor.numel() <= SMALL and has_values(tensor):
                    self.copies.append((name, tensor, tensor.detach().clone()))

    def refuse_change(self, func: Any, args: Any, kwargs: Any) -> None:
        """Raise `WouldChangeModel` where an op that is about to run would write to one of the tensors."""
        for tensor in tensors_in(list_written(func, args, kwargs)):
            with suppress(RuntimeError, NotImplementedError):
                name = self.names.get(find_address(tensor.untyped_storage()))
                if name is not None:
                    raise WouldChangeModel(
                        f"it would change {name} of the model itself, which it holds by a way that no copy has"
                    )

    def check_unchanged(self) -> None:
        """Raise where a tensor was written to all the same."""
        changed = [name for name, tensor, version in self.versions if count_writes(tensor) != version]
        changed += [name for name, *pair in self.copies if name not in changed and not _are_equal(*pair)]
        if changed:
            raise ArchprofError(
                f"The forward changed {name_few(changed)} of the model itself.",
                "A copy of the model was run, which holds these by a way that cannot be copied: "
                "a lock, a generator or an object of a library.",
                "Load the weights again, and profile a model without it.",
            )


def _list_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for path, module in walk_modules(model):
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None and not tensor.is_meta and not nn.parameter.is_lazy(tensor):
                    yield (f"{path}.{name}" if path else name), tensor


def _are_equal(tensor: torch.Tensor, before: torch.Tensor) -> bool:
    """Value by value; what is no number stays so."""
    if tensor.shape != before.shape or tensor.is_meta:
        return False
    with torch.no_grad():
        return bool(((tensor == before) | ((tensor != tensor) & (before != before))).all())


def watch_unless_owned(model: nn.Module, owned: bool) -> WatchedModel | None:
    """What watches a model of the user's; one that was made here is nobody's."""
    return None if owned else WatchedModel(model)
