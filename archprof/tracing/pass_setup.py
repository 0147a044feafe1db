"""What a model is set to for a pass."""

from __future__ import annotations

import itertools
from typing import Any

from torch import nn

from archprof.torchside.tensors import dtype_name


def find_pass_dtype(model: nn.Module) -> str:
    """The dtype the pass runs in: that of the first floating parameter or buffer."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return dtype_name(tensor.dtype)
    return "float32"


def set_train_flags(model: nn.Module, train: bool) -> None:
    """Evaluation, or training with the flags the user set (a frozen batch norm stays frozen)."""
    if train:
        if not model.training:
            model.train()
        return
    modules = list(model.modules())
    kinds: set[Any] = {type(module) for module in modules}
    if any(kind.train is not nn.Module.train or kind.eval is not nn.Module.eval for kind in kinds):
        model.eval()  # some class does more than set the flag
        return
    for module in modules:
        module.__dict__["training"] = False  # what `eval` does, only faster
