"""Values, functions and layers as Python source; names of a user's model are data and end as attributes or strings."""

from __future__ import annotations

import builtins
import keyword
import math
import operator
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from archprof.errors import ArchprofError
from archprof.rewriting.layers import layer_class, read_arguments

INFIX_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "matmul": "@", "pow": "**",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and_": "&", "or_": "|",
    "iadd": "+=", "isub": "-=", "imul": "*=", "itruediv": "/=",
}  # fmt: skip
"""The functions of `operator` that have a sign."""

FUNCTION_PLACES = ((torch, "torch"), (functional, "functional"), (math, "math"))
"""Where functions are looked for, and how the written module calls it."""

GROUP_SOURCE = '''

def group(**layers: nn.Module | torch.Tensor) -> nn.Module:
    """Layers and tensors under one name; `Net.forward` calls them one by one."""
    holder = nn.Module()
    for name, layer in layers.items():
        if isinstance(layer, (nn.Module, nn.Parameter)):
            setattr(holder, name, layer)
        else:
            holder.register_buffer(name, layer)
    return holder
'''
"""What the written module needs where it has layers under names."""

MAX_WRITTEN_NUMBERS = 64
"""Numbers that a constant tensor may have to be written out."""


def is_plain_name(name: str) -> bool:
    """Whether a name can stand in code as it is."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")


def write_attribute(holder: str, name: str) -> str:
    return f"{holder}.{name}" if is_plain_name(name) else f"getattr({holder}, {name!r})"


def write_access(root: nn.Module, path: str) -> str:
    """The expression for what stands at a path, inside a method."""
    holder, code = root, "self"
    for name in path.split("."):
        code = f"{code}[{name}]" if _is_numbered(holder) and holder is not root else write_attribute(code, name)
        holder = getattr(holder, name)
    return code


def write_literal(value: Any, names: dict[fx.Node, str]) -> str:
    """An argument of a call; nodes by their names."""
    if isinstance(value, fx.Node):
        return names[value]
    if value is None or value is Ellipsis or type(value) in (bool, int, str):
        return repr(value) if value is not Ellipsis else "..."
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return str(value)
    if isinstance(value, torch.device):
        return repr(str(value))
    if isinstance(value, slice):
        return f"slice({', '.join(write_literal(part, names) for part in (value.start, value.stop, value.step))})"
    if isinstance(value, dict):
        pairs = (f"{write_literal(key, names)}: {write_literal(item, names)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        items = ", ".join(write_literal(item, names) for item in value)
        return f"[{items}]" if isinstance(value, list) else f"({items},)" if len(value) == 1 else f"({items})"
    raise ArchprofError(f"A value of type {type(value).__name__} cannot be written as code.")


def write_index(value: Any, names: dict[fx.Node, str]) -> str:
    """What stands between brackets."""
    if isinstance(value, tuple) and value:
        return ", ".join(write_index(item, names) for item in value)
    if isinstance(value, slice) and not isinstance(value.step, fx.Node) and value.step is None:
        return ":".join("" if part is None else write_literal(part, names) for part in (value.start, value.stop))
    return write_literal(value, names)


def write_call(node: fx.Node, names: dict[fx.Node, str], imports: set[str]) -> str:
    """The expression of a call of a function or method."""
    args = [write_literal(value, names) for value in node.args]
    if node.op == "call_method":
        return f"{args[0]}.{_check_name(str(node.target))}({_write_arguments(args[1:], node, names)})"
    function: Any = node.target
    if function is builtins.getattr:
        return f"{args[0]}.{_check_name(str(node.args[1]))}"
    if function is operator.getitem:
        return f"{args[0]}[{write_index(node.args[1], names)}]"
    name = getattr(function, "__name__", "")
    if getattr(operator, name, None) is function and name in INFIX_SIGNS:
        return f" {INFIX_SIGNS[name]} ".join(f"({arg})" if arg.startswith("-") else arg for arg in args)
    if function is operator.neg:
        return f"-{args[0]}"
    return f"{_write_function(function, name, imports)}({_write_arguments(args, node, names)})"


def _write_arguments(args: list[str], node: fx.Node, names: dict[fx.Node, str]) -> str:
    """The arguments of a call; dropout follows the mode of the written module."""
    keywords = [
        f"{_check_name(key)}={'self.training' if key == 'training' else write_literal(value, names)}"
        for key, value in node.kwargs.items()
    ]
    return ", ".join([*args, *keywords])


def _check_name(name: str) -> str:
    if not is_plain_name(name):
        raise ArchprofError(f"The name {name!r} cannot be written as code.")
    return name


def _write_function(function: Callable[..., Any], name: str, imports: set[str]) -> str:
    """How the written module calls a function of torch, torchvision or math."""
    for place, called in FUNCTION_PLACES:
        if is_plain_name(name) and getattr(place, name, None) is function:
            imports.add("from torch.nn import functional" if called == "functional" else f"import {called}")
            return f"{called}.{name}"
    home = getattr(function, "__module__", None) or ""
    known = home.split(".")[0] in ("torch", "torchvision") and all(map(is_plain_name, [*home.split("."), name]))
    if known and getattr(sys.modules.get(home), name, None) is function:
        imports.add(f"from {home} import {name}")
        return name
    raise ArchprofError(f"{name or function} is neither torch's nor torchvision's.")


def write_layer(module: nn.Module, imports: set[str]) -> str:
    """The constructor call of a layer."""
    kind = layer_class(module)
    assert kind is not None
    values = read_arguments(module)
    shown = []
    for name, value in values.items():
        text = write_literal(value, {})
        positional = name in ("in_channels", "out_channels", "in_features", "out_features", "num_features")
        shown.append(text if positional else f"{_check_name(name)}={text}")
    known = getattr(nn, kind.__name__, None) is kind
    if known:
        return f"nn.{kind.__name__}({', '.join(shown)})"
    imports.add(f"from {kind.__module__} import {kind.__name__}")
    return f"{kind.__name__}({', '.join(shown)})"


def write_tensor(value: torch.Tensor, name: str) -> str:
    """A parameter or constant that no layer has. Trained values are not kept: a scale starts at one, a bias at zero."""
    shape = write_literal(tuple(value.shape), {})
    if isinstance(value, nn.Parameter):
        start = f"torch.ones({shape})" if name == "weight" and value.dim() == 1 else f"0.02 * torch.randn({shape})"
        return f"nn.Parameter({f'torch.zeros({shape})' if name == 'bias' else start})"
    if value.is_meta or value.numel() > MAX_WRITTEN_NUMBERS:
        raise ArchprofError(f"The constant {name!r} of {value.numel()} numbers cannot be written as code.")
    return f"torch.tensor({write_literal(value.tolist(), {})}, dtype={value.dtype})"


def write_construction(module: nn.Module, indent: str, imports: set[str]) -> str:
    """The expression that makes a layer or a container with all it holds, over several lines if it is a container."""
    if layer_class(module) is not None:
        return write_layer(module, imports)
    deeper = indent + "    "
    held = _list_held(module)
    items = {
        name: write_construction(value, deeper, imports) if isinstance(value, nn.Module) else write_tensor(value, name)
        for name, value in held.items()
    }
    if isinstance(module, nn.Sequential):
        if _is_numbered(module):
            return _write_lines("nn.Sequential(", list(items.values()), ")", indent)
        imports.add("from collections import OrderedDict")
        pairs = [f"({name!r}, {item})" for name, item in items.items()]
        return _write_lines("nn.Sequential(OrderedDict([", pairs, "]))", indent)
    if _is_numbered(module):
        ordered = [items[str(i)] for i in range(len(items))]
        return _write_lines("nn.ModuleList([", ordered, "])", indent)
    imports.add(GROUP_SOURCE)
    named = [f"{name}={item}" for name, item in items.items() if is_plain_name(name)]
    others = [f"**{{{name!r}: {item}}}" for name, item in items.items() if not is_plain_name(name)]
    return _write_lines("group(", [*named, *others], ")", indent)


def _list_held(module: nn.Module) -> OrderedDict[str, nn.Module | torch.Tensor]:
    return OrderedDict([*module._parameters.items(), *module._buffers.items(), *module._modules.items()])  # type: ignore[list-item]


def _is_numbered(module: nn.Module) -> bool:
    """Whether what a container holds is called 0, 1, 2 …"""
    names = set(_list_held(module))
    return not module._parameters and not module._buffers and names == {str(i) for i in range(len(names))}


def _write_lines(start: str, items: list[str], end: str, indent: str) -> str:
    return "\n".join([start, *(f"{indent}    {item}," for item in items), f"{indent}{end}"])
