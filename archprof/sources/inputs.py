"""What goes into a model: from what a user gives to the tensors of a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import torch

from archprof.errors import UsageError
from archprof.sources.input_grammar import NamedInput, parse_input
from archprof.sources.input_spec import InputSpec, is_floating_dtype
from archprof.sources.input_values import MAX_INT64, MAX_REAL_INPUT_ELEMENTS, make_tensor
from archprof.torchside.free_memory import refuse_without_room
from archprof.torchside.tensors import dtype_name, has_values


class Inputs(NamedTuple):
    """The arguments of one forward: trees of `InputSpec`, plain values, and small integer and bool tensors."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def normalise_inputs(inputs: Any) -> Inputs:
    """Bring what a user gives as inputs into `(args, kwargs)`.

    Args:
        inputs: one input, a tuple or list of them (positional; one with a name goes to the keywords),
            or a dict of them (keywords). An input is a tensor, a tuple of ints (an exact shape), a string in
            the grammar of `--input`, an `InputSpec`, a plain Python value, or a list, tuple, dict or dataclass
            of inputs.

    Returns:
        The arguments. A tensor stands there as its shape and dtype with its values beside them, or as itself where
        more matters: small integers and bools, other layouts and strides, inputs that need a gradient.
    """
    if isinstance(inputs, Mapping):
        return Inputs((), {str(name): _read_leaf(value) for name, value in inputs.items()})
    if isinstance(inputs, list) and _is_shape(tuple(inputs)):
        inputs = tuple(inputs)
    several = isinstance(inputs, (tuple, list)) and not _is_shape(inputs)
    values = [_read_leaf(value) for value in (inputs if several else [inputs])]
    named = [value for value in values if isinstance(value, NamedInput)]
    kwargs = {each.name: each.value for each in named}
    if len(kwargs) < len(named):
        raise UsageError(f"An input name is given twice: {', '.join(each.name for each in named)}.", "Each name once.")
    return Inputs(tuple(value for value in values if not isinstance(value, NamedInput)), kwargs)


def holds_no_tensor(inputs: Inputs) -> bool:
    """Whether only plain keywords were given, as by `--arg`: these stand beside the model's default input."""
    return not inputs.args and bool(inputs.kwargs) and not _find_tensor_leaves(inputs.kwargs)


def cast_float_inputs(tree: Any, dtype: str) -> Any:
    """The same inputs with every floating tensor in the dtype of the pass."""
    if isinstance(tree, torch.Tensor) and tree.is_floating_point():
        if _is_plain_tensor(tree) or not has_values(tree):
            return InputSpec(tuple(tree.shape), values=_values_of(tree))
        return tree.detach().to(getattr(torch, dtype)).requires_grad_(tree.requires_grad)
    return _map_children(tree, lambda item: cast_float_inputs(item, dtype))


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(type(size) is int for size in value)


def _read_leaf(value: Any) -> Any:
    """One input with its strings, shapes and tensors read; containers keep their form."""
    if isinstance(value, str):
        return parse_input(value)
    if isinstance(value, torch.Tensor):
        return make_spec(value) if _is_plain_tensor(value) and not _keeps_values(value) else value
    if isinstance(value, InputSpec | NamedInput):
        return value
    return InputSpec(tuple(value)) if _is_shape(value) else _map_children(value, _read_leaf)


def _map_children(value: Any, function: Callable[[Any], Any]) -> Any:
    """`function` of each child of a container; anything else comes back as it is."""
    if isinstance(value, InputSpec):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        children = {each.name: function(getattr(value, each.name)) for each in fields(value) if each.init}
        return replace(value, **children)
    if isinstance(value, Mapping):
        return {key: function(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(function, value))
    return value


def map_tensors(tree: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same tree with every tensor in it changed."""
    if isinstance(tree, torch.Tensor):
        return change(tree)
    return _map_children(tree, lambda item: map_tensors(item, change))


def _keeps_values(tensor: torch.Tensor) -> bool:
    counts = not tensor.is_floating_point() and not tensor.is_complex()
    return counts and not tensor.is_meta and tensor.numel() <= MAX_REAL_INPUT_ELEMENTS


def _is_plain_tensor(tensor: torch.Tensor) -> bool:
    """Whether shape and dtype are all that the cost of a pass depends on."""
    usual = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    return usual and tensor.is_contiguous() and not (tensor.requires_grad or tensor.is_quantized)


def make_spec(tensor: torch.Tensor) -> InputSpec:
    """The exact shape and dtype of a tensor, with its values where it has any."""
    return InputSpec(tuple(tensor.shape), dtype_name(tensor.dtype), values=_values_of(tensor))


def _values_of(tensor: torch.Tensor) -> torch.Tensor | None:
    return tensor.detach() if has_values(tensor) else None


def count_given_values(tree: Any) -> tuple[int, int]:
    """How many tensors of a tree of inputs have values that were given, and how many have none."""
    leaves = _find_tensor_leaves(tree)
    given = sum(leaf.values is not None if isinstance(leaf, InputSpec) else not leaf.is_meta for leaf in leaves)
    return given, len(leaves) - given


def find_input_specs(tree: Any) -> Iterator[InputSpec]:
    """The leaves of a tree of inputs that stand for tensors."""
    return (leaf for leaf in _find_tensor_leaves(tree) if isinstance(leaf, InputSpec))


def _find_tensor_leaves(tree: Any) -> list[Any]:
    """The leaves that are tensors or stand for one."""
    found: list[Any] = []
    _collect_tensor_leaves(found, tree)
    return found


def _collect_tensor_leaves(found: list[Any], value: Any) -> Any:
    """Append the leaves; no function that knows itself, which would wait for the collector with what it found."""
    if isinstance(value, InputSpec | torch.Tensor):
        found.append(value)
        return value
    return _map_children(value, partial(_collect_tensor_leaves, found))


def make_input_tensors(tree: Any, *, device: Literal["meta", "cpu"], batch: int, dtype: str, seed: int = 0) -> Any:
    """The same tree with a tensor for every leaf that stands for one; the global generator is not touched.

    Args:
        device: "meta" gives tensors without data, but integers and bools up to `MAX_REAL_INPUT_ELEMENTS` stay real,
            so that code may branch on them; "cpu" gives the values that were given, or else normal floats, or those
            of a range, and integers in their range (zeros without one).
        batch: the size put in front of batched inputs.
        dtype: torch's name of the dtype of inputs that have none of their own.
        seed: of what is drawn.
    """
    generator = torch.Generator("cpu").manual_seed(seed)

    def make(leaf: Any) -> Any:
        if isinstance(leaf, InputSpec):
            return make_tensor(leaf, device, batch, dtype, generator)
        if isinstance(leaf, torch.Tensor):
            return _make_tensor_like(leaf, device, generator)
        made = _map_children(leaf, make)
        return _copy_object(leaf) if made is leaf else made

    refuse_without_room("What goes into the model", _count_real_bytes(tree, device, batch, dtype))
    return make(tree)


def _count_real_bytes(tree: Any, device: str, batch: int, dtype: str) -> int:
    """Of the tensors that are made with values; beyond what torch can count nothing is made, which is told later."""
    total = 0
    for spec in find_input_specs(tree):
        kind, count = spec.dtype or dtype, math.prod(spec.full_shape(batch))
        if device == "cpu" or not (is_floating_dtype(kind) or count > MAX_REAL_INPUT_ELEMENTS):
            total += count * getattr(torch, kind).itemsize if count <= MAX_INT64 else 0
    return total


def _copy_object(value: Any) -> Any:
    """An object of another class, such as a cache: copied, so that the forward cannot change the user's own."""
    try:
        return deepcopy(value)
    except Exception:  # a lock, a file or a generator in it: shared
        return value


def _make_tensor_like(tensor: torch.Tensor, device: str, generator: torch.Generator) -> torch.Tensor:
    """A tensor of the same layout, strides and need of a gradient; floats on meta have no values."""
    if tensor.is_quantized or tensor.is_nested:
        return tensor.detach().clone()
    if tensor.layout != torch.strided:
        return tensor.detach().to(device, copy=True).requires_grad_(tensor.requires_grad)
    on_meta = device == "meta" and (tensor.is_meta or not _keeps_values(tensor))
    target = "meta" if on_meta else "cpu"
    new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=target)
    if not on_meta:
        there = has_values(tensor)
        values = tensor.detach() if there else make_tensor(make_spec(tensor), device, 1, "float32", generator)
        new = new.copy_(values) if 0 not in tensor.stride() else values.to(target, copy=True)
    return new.requires_grad_(tensor.requires_grad)
