"""The arguments of an op as its signature keeps them: what can be compared, and written as JSON."""

from __future__ import annotations

import math
from typing import Any

import torch

from archprof.facts.ops import TENSOR_ARGUMENT
from archprof.torchside.tensors import PLAIN_TENSOR_KINDS

PLAIN_ARG_KINDS = frozenset((int, bool, str, type(None)))
TEXT_ARG_KINDS = frozenset((float, complex, torch.dtype, torch.device, torch.layout, torch.memory_format))
"""Classes of arguments that their text tells apart."""


def make_plain(values: Any) -> tuple[Any, ...]:
    """Numbers, strings and tuples of them, which can be compared and written as JSON."""
    made = []
    for value in values:
        kind = type(value)
        if kind in PLAIN_ARG_KINDS:
            made.append(value)
        elif kind in PLAIN_TENSOR_KINDS:
            made.append(TENSOR_ARGUMENT)
        else:
            made.append(to_plain_value(value))
    return tuple(made)


def to_plain_value(value: Any) -> Any:
    """The same of one argument; of an object of another class the name of that."""
    kind = type(value)
    if kind in PLAIN_ARG_KINDS:
        return value
    if kind is list or kind is tuple or isinstance(value, list | tuple):
        return tuple(value) if PLAIN_ARG_KINDS.issuperset(map(type, value)) else make_plain(value)
    if isinstance(value, torch.Tensor):
        return TENSOR_ARGUMENT
    if kind is float and math.isfinite(value):
        return value
    return str(value) if kind in TEXT_ARG_KINDS else kind.__name__
