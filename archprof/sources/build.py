"""Building a model in no time and no memory: large tensors on the meta device, initialisers skipped."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archprof.torchside.dispatch import DispatchMode
from archprof.torchside.free_memory import NoRoom
from archprof.torchside.guard import run_untouched
from archprof.torchside.missing_values import mark_op_error, wants_values
from archprof.torchside.private import argument_names
from archprof.torchside.tensors import op_name, tensors_in
from archprof.units import show_quantity

T = TypeVar("T")

MAX_READABLE_ELEMENTS = 2**16
"""Elements up to which constants and integer or bool buffers stay real: constructors and forwards read them."""

aten = torch.ops.aten

UNINITIALISED_OPS = {aten.empty.memory_format, aten.empty_strided.default, aten.new_empty.default}
"""Ops whose result nobody can read before it is written: always on meta."""

FACTORY_OPS = {
    aten.zeros.default, aten.ones.default, aten.full.default, aten.new_zeros.default, aten.new_ones.default,
    aten.new_full.default, aten.rand.default, aten.randn.default, aten.randint.default, aten.randint.low,
}  # fmt: skip
"""Ops that make a tensor of a given size: on meta above `MAX_READABLE_ELEMENTS` elements."""

NUMBER_ARITHMETIC_OPS = {aten.mul.Tensor, aten.div.Tensor, aten.add.Tensor, aten.sub.Tensor}
"""With a plain number on the other side: the shape and dtype of the tensor."""

RESHAPING_OPS = {
    f"aten.{name}_"
    for name in ("resize", "set", "t", "transpose", "squeeze", "unsqueeze", "as_strided", "requires_grad", "detach")
}
"""In-place ops that change more than values: these run on meta too."""


def build_on_meta(factory: Callable[[], T]) -> T:
    """Call `factory` so that the model it returns has its parameters and float buffers on meta.

    A factory that must read values which are not there is called once more, with real tensors, and its model is then
    moved. Random state, default dtype and default device are afterwards what they were.

    Args:
        factory: returns a module, or a tuple with modules in it.

    Returns:
        What it returned: same `state_dict` keys, shapes and dtypes, same ties, same `requires_grad`.
    """
    built = run_untouched(lambda: _build_once_or_twice(factory))
    for item in built if isinstance(built, tuple) else (built,):
        if isinstance(item, nn.Module):
            move_to_meta(item)
    return built


def _build_once_or_twice(factory: Callable[[], T]) -> T:
    """What `factory` returns on meta, or with real tensors where it must read values."""
    try:
        with _BuildMode():
            return factory()
    except Exception as error:
        if not wants_values(error):
            raise
    with _MemoryLimitMode():
        return factory()


def build_with_values(factory: Callable[[], T]) -> T:
    """Call `factory` with real tensors and a fixed seed; random state and torch's defaults are kept.

    Raises:
        NoRoom: its tensors would take more than a quarter of this machine's memory.
    """

    def made() -> T:
        torch.default_generator.manual_seed(0)
        with _MemoryLimitMode():
            return factory()

    return run_untouched(made)


class _BuildMode(DispatchMode):
    """Makes large tensors on meta, and drops every write to a meta tensor: its values are never there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in UNINITIALISED_OPS:
            return func(*args, **{**kwargs, "device": "meta", "pin_memory": None})
        if func in FACTORY_OPS and math.prod(_size_argument(func, args)) > MAX_READABLE_ELEMENTS:
            return _make_empty_result(func, args, kwargs)
        if _only_writes_values(func) and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            return args[0]
        tensors = tensors_in((args, kwargs))
        if not any(tensor.is_meta for tensor in tensors):
            return func(*args, **kwargs)
        return _run_on_meta(func, args, kwargs, tensors)


class _MemoryLimitMode(DispatchMode):
    """Stops a constructor whose real tensors would fill the memory: a pass needs twice as much again."""

    def __init__(self) -> None:
        super().__init__()
        self.allocated_bytes, self.max_bytes = 0, _machine_memory() // 4

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in UNINITIALISED_OPS or func in FACTORY_OPS:
            result = func(*args, **{**(kwargs or {}), "device": "meta", "pin_memory": None})
            if self.allocated_bytes + result.nbytes > self.max_bytes:
                raise NoRoom(
                    "This model needs values, and its tensors take more than "
                    f"{show_quantity(self.max_bytes, 'bytes')}.",
                    "A model that cannot be traced on meta may take a quarter of this machine's memory.",
                    "Give it fewer layers, or inputs with which it needs no values.",
                )
            self.allocated_bytes += result.nbytes
        return func(*args, **(kwargs or {}))


def _machine_memory() -> int:
    """Bytes of memory that this machine has; 8 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**33


def _run_on_meta(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[torch.Tensor]) -> Any:
    """An op that reads a meta tensor."""
    if _only_writes_values(func):
        raise NotImplementedError("a real tensor is written with the values of a meta tensor")
    if func in NUMBER_ARITHMETIC_OPS and len(tensors) == 1 and tensors[0].is_floating_point():
        return _empty_like_on_meta(tensors[0])  # torch's own meta kernel for these imports its compiler
    if not all(tensor.is_meta for tensor in tensors):
        args, kwargs = _move_arguments_to_meta((args, kwargs))
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": "meta"}
    try:
        return func(*args, **kwargs)
    except Exception as error:
        mark_op_error(error, func)
        raise


@cache
def _only_writes_values(func: Any) -> bool:
    """Whether an op changes the values of its first argument and nothing else."""
    name = op_name(func)
    return name.endswith("_") and name not in RESHAPING_OPS


def _size_argument(func: Any, args: Any) -> Any:
    """The size argument of a factory op."""
    return args[argument_names(func).index("size")]


def _make_empty_result(func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
    """A meta tensor of the size and dtype that the factory op `func` would give."""
    dtype = kwargs.get("dtype")
    if dtype is None and isinstance(args[0], torch.Tensor):
        dtype = args[0].dtype
    if dtype is None and "randint" in op_name(func):
        dtype = torch.int64
    if dtype is None and "full" in op_name(func):
        dtype = torch.tensor(args[1]).dtype
    return torch.empty(_size_argument(func, args), dtype=dtype, device="meta")


def _move_arguments_to_meta(tree: Any) -> Any:
    """The same arguments with every tensor on meta, but for single numbers, which torch mixes freely."""
    if isinstance(tree, torch.Tensor):
        return tree if tree.is_meta or tree.dim() == 0 else _empty_like_on_meta(tree)
    if isinstance(tree, dict):
        return {key: _move_arguments_to_meta(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(_move_arguments_to_meta, tree))
    return tree


def _empty_like_on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta")


def move_to_meta(model: nn.Module) -> None:
    """Replace every real parameter and float buffer of `model` by its meta twin; a tensor shared by modules stays one.

    Integer and bool buffers up to `MAX_READABLE_ELEMENTS` elements stay real, so that code may index by them.
    """
    twins: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and _must_move(tensor):
                    if id(tensor) not in twins:
                        twins[id(tensor)] = _make_meta_twin(tensor)
                    tensors[name] = twins[id(tensor)]  # type: ignore[assignment]


def _must_move(tensor: torch.Tensor) -> bool:
    if tensor.is_meta or is_lazy(tensor):  # a lazy tensor has no shape before the first forward
        return False
    floats = tensor.is_floating_point() or tensor.is_complex()
    return bool(floats or isinstance(tensor, nn.Parameter) or tensor.numel() > MAX_READABLE_ELEMENTS)


def _make_meta_twin(tensor: torch.Tensor) -> torch.Tensor:
    """The meta twin of a parameter or buffer, with what was set on it."""
    twin = _empty_like_on_meta(tensor.detach())
    if isinstance(tensor, nn.Parameter):
        twin = nn.Parameter(twin, requires_grad=tensor.requires_grad)
    twin.__dict__.update(tensor.__dict__)
    return twin
