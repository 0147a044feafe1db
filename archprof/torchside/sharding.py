"""Models that torch.distributed spread over processes, as they were before: whole tensors, and no hooks of its own.

Nothing here imports torch.distributed: a model that it has touched has it imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.facts.records import SplitRule
from archprof.torchside.private import CALL_HOOK_TABLES

PACKAGE = "torch.distributed"

STATE_PREFIX = "__composable_api"
"""What `fully_shard` keeps in a module's attributes."""

SHARDED_NOTE = "Parameters that are sharded over processes were counted whole, and communication was left out."


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one process's part of a larger one, whose shape it tells."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def make_whole(tensor: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A plain tensor of the whole shape; the values of other processes are not here, so that it is zeros."""
    whole = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=device)
    return whole if whole.is_meta else whole.zero_()


def find_plain_class(kind: type[nn.Module]) -> type[nn.Module]:
    """The class that a module had before `fully_shard` gave it another."""
    module = sys.modules.get("torch.distributed.fsdp")
    sharded = getattr(module, "FSDPModule", None)
    if sharded is None or not issubclass(kind, sharded):
        return kind
    return next(base for base in kind.__mro__ if not issubclass(base, sharded))


def drop_distributed(state: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a module without what torch.distributed put there to gather, scatter and reduce."""
    kept = {name: value for name, value in state.items() if not name.startswith(STATE_PREFIX)}
    for name in CALL_HOOK_TABLES:
        table = kept.get(name)
        if table and any(map(_is_distributed, table.values())):  # handles of other hooks know the table they stand in
            kept[name] = type(table)((key, hook) for key, hook in table.items() if not _is_distributed(hook))
    return kept


def _is_distributed(hook: Any) -> bool:
    while isinstance(hook, partial):
        hook = hook.func
    return str(getattr(hook, "__module__", "")).startswith(PACKAGE)


def list_split_rules(model: nn.Module) -> tuple[SplitRule, ...]:
    """The plans that a model of transformers has for tensor and expert parallelism."""
    plans = {axis: getattr(model, f"_{axis}_plan", None) for axis in ("tp", "ep")}
    return tuple(
        SplitRule(axis, pattern, style)  # type: ignore[arg-type]
        for axis, plan in plans.items()
        if isinstance(plan, dict)
        for pattern, style in plan.items()
        if isinstance(pattern, str) and isinstance(style, str)
    )


def refuse_flat_parameters(module: nn.Module) -> None:
    """Raise `ArchprofError` where a wrapper holds parameters in pieces that no longer tell their shapes."""
    kind = type(module)
    if kind.__name__ == "FullyShardedDataParallel" and kind.__module__.startswith(PACKAGE):
        raise _make_flat_error("FullyShardedDataParallel")
    if any(hasattr(tensor, "ds_shape") for tensor in module._parameters.values()):
        raise _make_flat_error("DeepSpeed ZeRO 3")


def _make_flat_error(wrapper: str) -> ArchprofError:
    return ArchprofError(
        f"{wrapper} holds the parameters of this model in pieces, without their shapes.",
        "A plain module, or one that fully_shard or parallelize_module has sharded.",
        "Profile the model before it is wrapped.",
    )
