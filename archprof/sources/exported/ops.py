"""The ops of an exported program, run from their JSON: only operators that a file may name."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.sources.exported.archive import DTYPE_BY_NUMBER
from archprof.sources.exported.boxes import refuse_wild_boxes
from archprof.sources.exported.checked_ops import is_on_values, may_run_on_values
from archprof.sources.exported.made_elements import MOST_ELEMENTS, count_made_elements, outside_the_pass
from archprof.sources.exported.run_limits import RECURRENT_GATES, RUN_LIMITS, count_recurrent_steps
from archprof.torchside.private import OVERLOAD, argument_names, has_kernel

ALLOWED_NAMESPACES = frozenset({"aten", "prims", "quantized", "quantized_decomposed", "torchvision", "torchao"})
"""Libraries whose operators a file may name: they compute, and touch no files but for those with a `filename`."""

ASSERTION_OPS = ("torch.ops.aten._assert_", "torch.ops.aten.sym_constrain_range", "torch.ops.aten._assert_async")
"""Ops that only watch over the exported program."""

SIZE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in (
        "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pos", "eq", "ne", "lt", "le", "gt", "ge", "and_",
        "or_", "not_", "getitem",
    )},
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
    **{f"torch.{name}": getattr(torch, name) for name in (
        "sym_float", "sym_int", "sym_max", "sym_min", "sym_not", "sym_ite", "sym_sum",
    )},
}  # fmt: skip
"""What sizes are computed with."""

RECURRENT_FUNCTIONS = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)

WHOLE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention.default": nn.functional.scaled_dot_product_attention,
    **{f"{function.__name__}.{kind}": function for function in RECURRENT_FUNCTIONS for kind in ("input", "data")},
}
"""Ops that the tracer records whole when they are called as torch's functions."""

CONTROL_FLOW_OPS: dict[str, Any] = {
    f"torch.ops.higher_order.{name}": getattr(torch.ops.higher_order, name)
    for name in "cond switch while_loop scan map_impl wrap_with_set_grad_enabled wrap_with_autocast".split()
    if hasattr(torch.ops.higher_order, name)
}
"""Ops that take graphs of the same file."""

MEMORY_FORMAT_BY_NUMBER = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format,
}  # fmt: skip
PLAIN_ARGUMENT_KINDS = frozenset(
    "as_int as_ints as_bool as_bools as_string as_strings as_int_lists as_float_lists".split()
)
"""Kinds of an `Argument` of the schema that are their own value in JSON."""


class ValueLookup:
    """Values by name: of this call, or held by a module."""

    def __init__(self, values: dict[str, Any], tensors: dict[str, tuple[nn.Module, str]]) -> None:
        self.values, self.tensors = values, tensors

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        module, attribute = self.tensors[name]
        tables: Any = (module._parameters, module._buffers, module._exported_constants)
        return next(table[attribute] for table in tables if attribute in table)

    @property
    def device(self) -> str:
        tensors = [value for value in self.values.values() if isinstance(value, torch.Tensor)]
        return "meta" if any(tensor.is_meta for tensor in tensors) else "cpu"


class SubGraph:
    """A graph that an op of control flow is given: called with its inputs, in order."""

    def __init__(self, graph: Mapping[str, Any], tensors: dict[str, Any]) -> None:
        self.graph, self.tensors = graph, tensors

    def __call__(self, *args: Any) -> Any:
        values = dict(zip(find_value_names(self.graph["inputs"]), args, strict=True))
        for node in self.graph["nodes"]:
            bind_results(node["outputs"], run_op(node, ValueLookup(values, self.tensors)), values)
        lookup = ValueLookup(values, self.tensors)
        found = tuple(_read_argument(each, lookup) for each in self.graph["outputs"])
        return found[0] if self.graph.get("is_single_tensor_return") else found


def run_op(node: Mapping[str, Any], values: ValueLookup) -> Any:
    """Run one op of the graph."""
    RUN_LIMITS.take_steps()
    if node["target"].startswith(ASSERTION_OPS):
        return None
    args = [_read_argument(each["arg"], values) for each in node["inputs"] if each.get("kind") != 2]
    kwargs = {each["name"]: _read_argument(each["arg"], values) for each in node["inputs"] if each.get("kind") == 2}
    takes_graph = any(isinstance(arg, SubGraph) for arg in args)
    function = _find_function(node["target"], takes_graph=takes_graph)
    if node["target"] not in SIZE_FUNCTIONS and not takes_graph and is_on_values(args, kwargs):
        _refuse_unchecked(node["target"], function, args, kwargs)
    return function(*args, **kwargs)


def _refuse_unchecked(target: str, op: Any, args: Any, kwargs: Any) -> None:
    """Raise for an op that might read or write beside its tensors, or fill the memory, with what a file gives it."""
    if not may_run_on_values(op):
        raise ArchprofError(
            f"The exported program calls {target} with values, and its kernel does not check them.",
            "From a file it is run without values alone, where its inputs are on meta.",
            "Profile the module itself: net.py:Net",
        )
    if target.startswith("torch.ops.torchvision.roi_align"):
        with outside_the_pass():
            refuse_wild_boxes(*args, **kwargs)
    elements, size = count_made_elements(op, args, kwargs)
    if elements > MOST_ELEMENTS:
        raise ArchprofError(f"The exported program calls {target} for more than {MOST_ELEMENTS} elements with values.")
    if op in RECURRENT_FUNCTIONS:
        RUN_LIMITS.take_steps(count_recurrent_steps(target, tuple(args), kwargs))
        size *= RECURRENT_GATES
    RUN_LIMITS.take_bytes(target, size)


def _find_function(target: str, *, takes_graph: bool) -> Any:
    """What an op's name stands for; only operators that a file may name."""
    if target in SIZE_FUNCTIONS:
        return SIZE_FUNCTIONS[target]
    if takes_graph and target in CONTROL_FLOW_OPS:
        return CONTROL_FLOW_OPS[target]
    names = target.split(".")[2:]
    if not target.startswith("torch.ops.") or len(names) != 3 or names[0] not in ALLOWED_NAMESPACES:
        raise make_refusal_error(target)
    if names[0] == "aten" and ".".join(names[1:]) in WHOLE_FUNCTIONS:
        return WHOLE_FUNCTIONS[".".join(names[1:])]
    found: Any = torch.ops
    for name in names:
        found = getattr(found, name, None)
    if not isinstance(found, OVERLOAD) or not _is_compute_op(found):
        raise make_refusal_error(target)
    return found


def _is_compute_op(op: Any) -> bool:
    """Not one of TorchScript's built-ins on strings and lists, `aten::save` among them, nor one that maps a file."""
    return has_kernel(op) and "filename" not in argument_names(op)


def make_refusal_error(target: str) -> ArchprofError:
    """What is said of a part of a program that is not run."""
    return ArchprofError(
        f"The exported program calls {target}, which archprof does not run from a file.",
        f"Operators of {', '.join(sorted(ALLOWED_NAMESPACES))}.",
        "Profile the module itself: net.py:Net",
    )


def _read_argument(argument: Mapping[str, Any], values: ValueLookup) -> Any:
    """The value of an `Argument` of the schema, which is one of many kinds."""
    ((kind, value),) = argument.items()
    if kind in PLAIN_ARGUMENT_KINDS:
        return value
    if kind == "as_none":
        return None
    if kind in ("as_name", "as_tensor", "as_optional_tensor"):
        return values[value] if kind == "as_name" else _read_tensor_argument(value, values)
    if kind in ("as_tensors", "as_optional_tensors", "as_nested_tensors"):
        return [_read_tensor_argument(each, values) for each in value]
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return _read_argument(value, values)
    if kind in ("as_sym_ints", "as_sym_bools", "as_sym_floats"):
        return [_read_argument(each, values) for each in value]
    if kind == "as_device":
        return values.device
    if kind == "as_graph":
        return SubGraph(value["graph"], values.tensors)
    if kind not in CONSTANT_READERS:
        raise make_refusal_error(f"an op with an argument of the kind {kind[3:]}")
    return CONSTANT_READERS[kind](value)


CONSTANT_READERS: dict[str, Callable[[Any], Any]] = {
    "as_float": float,  # also of "Infinity", which JSON cannot write
    "as_floats": lambda values: list(map(float, values)),
    "as_scalar_type": DTYPE_BY_NUMBER.__getitem__,
    "as_memory_format": MEMORY_FORMAT_BY_NUMBER.__getitem__,
    "as_layout": lambda layout: None,
    "as_complex": lambda value: complex(value["real"], value["imag"]),
}


def _read_tensor_argument(value: Any, values: ValueLookup) -> Any:
    """A tensor by its name, a list of them, or `None`."""
    if isinstance(value, list):
        return [_read_tensor_argument(each, values) for each in value]
    return values[value["name"]] if "name" in value else _read_argument(value, values)


def bind_results(outputs: Sequence[Mapping[str, Any]], result: Any, values: dict[str, Any]) -> None:
    """Give the results of an op their names."""
    alone = len(outputs) == 1 and ("as_tensors" in outputs[0] or not isinstance(result, tuple | list))
    results = [result] if alone else list(result or ())
    for output, value in zip(outputs, results, strict=True):
        values.update(zip(find_value_names(output), value if "as_tensors" in output else [value], strict=False))


def find_value_names(arguments: Any) -> Iterator[str]:
    """The names of values anywhere in arguments."""
    if isinstance(arguments, list):
        for each in arguments:
            yield from find_value_names(each)
    elif isinstance(arguments, dict):
        for key, each in arguments.items():
            if key == "as_name" or (key == "name" and isinstance(each, str) and "arg" not in arguments):
                yield each
            elif key != "as_graph":  # which has names of its own
                yield from find_value_names(each)
