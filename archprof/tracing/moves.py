"""Moves between devices: in a pass every tensor is where the model runs, so that a move alone copies nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from archprof.torchside.tensors import META_DEVICE
from archprof.tracing.recorder import Recorder

Tensor = torch.Tensor

MOVES: frozenset[Callable[..., Any]] = frozenset((Tensor.to, Tensor.cpu, Tensor.cuda))
"""The methods that take a tensor to a device; `Tensor.to` may also change its dtype."""


class _Move(NamedTuple):
    """What `Tensor.to` was asked for.

    Attributes:
        device, dtype: `None` where none was given.
        more: whether to copy in any case, and the layout.
    """

    device: torch.device | None
    dtype: torch.dtype | None
    more: dict[str, Any]


def stay(recorder: Recorder, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What a move returns: the tensor itself, unless its dtype or layout change or a copy is asked for.

    A tensor with values that goes to those without is another tensor all the same, but no copy is written down.
    """
    tensor: Tensor = args[0]
    move = _read_move(*args[1:], **kwargs) if func is Tensor.to else _Move(None, None, _keep_layout(kwargs))
    if move.device != META_DEVICE or tensor.is_meta:
        return tensor.to(tensor.device, move.dtype or tensor.dtype, **move.more)
    if move.dtype not in (None, tensor.dtype) or move.more.get("copy"):
        return func(*args, **kwargs)
    with recorder.paused():
        moved: Tensor = func(*args, **kwargs)
    if recorder.recording:
        recorder.add_moved(moved, tensor)
    return moved


def only_moves(tensor: Tensor, options: dict[str, Any]) -> bool:
    """Whether `_to_copy` takes a tensor elsewhere as it is: hooks of autograd do so, which no function mode sees."""
    wanted = {name: value for name, value in options.items() if name not in ("device", "non_blocking", "pin_memory")}
    device = options.get("device")
    elsewhere = device is not None and torch.device(device) != tensor.device
    return (
        tensor.is_meta and elsewhere and wanted.get("dtype") in (None, tensor.dtype) and not wanted.get("memory_format")
    )


def _read_move(first: Any = None, *rest: Any, **named: Any) -> _Move:
    """The arguments of `Tensor.to`: a device and a dtype, a dtype, or a tensor that has both."""
    first = named.pop("tensor", first)
    device, dtype = named.pop("device", None), named.pop("dtype", None)
    if isinstance(first, Tensor):
        device, dtype = first.device, first.dtype
    elif isinstance(first, torch.dtype):
        dtype = first
    elif first is not None:
        device = first
    if rest and (rest[0] is None or isinstance(rest[0], torch.dtype)):
        dtype, rest = rest[0], rest[1:]
    more = dict(zip(("non_blocking", "copy"), rest, strict=False)) | named
    return _Move(None if device is None else torch.device(device), dtype, more)


def _keep_layout(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Of the keywords of `cpu` and `cuda`, what changes a tensor."""
    return {name: value for name, value in kwargs.items() if name == "memory_format"}
