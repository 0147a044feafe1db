"""What is asked everywhere near torch of tensors and of the nested values that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from archprof.facts.tensors import ITEM_BYTES, TensorSpec

META_DEVICE = torch.device("meta")

PLAIN_TENSOR_KINDS = frozenset((torch.Tensor, torch.nn.Parameter))
"""Classes of tensors that their layout describes; one of another class may carry more."""

LAZY_KINDS = (UninitializedParameter, UninitializedBuffer)

_DTYPE_NAMES: dict[torch.dtype, str] = {}


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.float32` -> "float32"."""
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        name = _DTYPE_NAMES[dtype] = str(dtype).removeprefix("torch.")
    return name


def op_name(op: Any) -> str:
    """`torch.ops.aten.add.Tensor` -> "aten.add"."""
    name: str = op.name()
    return name.partition(".")[0].replace("::", ".")


def make_spec(size: torch.Size, dtype: torch.dtype, strides: tuple[int, ...] | None = None) -> TensorSpec:
    """The layout of a tensor as a fact; `strides` where it does not lie row by row."""
    name = dtype_name(dtype)
    return TensorSpec(tuple(size), name, strides, None if name in ITEM_BYTES else dtype.itemsize)


def tensors_in(tree: Any) -> list[torch.Tensor]:
    """The tensors of nested lists, tuples, dicts and dataclass-like objects, in order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    if type(tree) is tuple and len(tree) == 1 and isinstance(tree[0], torch.Tensor):
        return [tree[0]]
    found: list[torch.Tensor] = []
    _collect_tensors(tree, found)
    return found


def _collect_tensors(tree: Any, found: list[torch.Tensor]) -> None:
    if isinstance(tree, torch.Tensor):
        found.append(tree)
    elif isinstance(tree, list | tuple | set):
        for item in tree:
            _collect_tensors(item, found)
    elif isinstance(tree, dict):
        for item in tree.values():
            _collect_tensors(item, found)
    elif hasattr(tree, "__dataclass_fields__") and not isinstance(tree, type):
        for name in tree.__dataclass_fields__:
            _collect_tensors(getattr(tree, name, None), found)


def find_own_loss(output: Any) -> Any:
    """What a model returned as its loss; `None` where it returned none."""
    return output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)


def mixes_devices(tree: Any) -> bool:
    """Whether some tensors of nested values are on meta and others are not."""
    return len({tensor.is_meta for tensor in tensors_in(tree)}) == 2


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """`None` for sparse and other layouts without one storage, and for a lazy parameter before its first call."""
    if type(tensor) in LAZY_KINDS:
        return None
    try:
        return tensor.untyped_storage()
    except NotImplementedError:
        return None


def has_values(tensor: torch.Tensor) -> bool:
    """Whether the storage of a tensor still is as long as the tensor needs: reading a freed one ends the process."""
    if tensor.is_meta:
        return False
    if type(tensor) not in PLAIN_TENSOR_KINDS or tensor.layout is not torch.strided:
        return True
    size, strides = tensor.size(), tensor.stride()
    if 0 in size:
        return True
    extent = tensor.storage_offset() + 1 + sum([(n - 1) * step for n, step in zip(size, strides, strict=True)])
    return int(extent) * tensor.element_size() <= tensor.untyped_storage().nbytes()
