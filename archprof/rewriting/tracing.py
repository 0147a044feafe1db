"""From a model to the graph of its forward, or a clear refusal."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from archprof.errors import ArchprofError
from archprof.rewriting.draft import Draft, function_name
from archprof.rewriting.layers import layer_class
from archprof.sources.inputs import make_input_tensors
from archprof.sources.target import Target
from archprof.torchside.error_lines import find_own_line
from archprof.torchside.stand_in import make_stand_in

IN_PLACE_OPERATORS = ("iadd", "isub", "imul", "itruediv")
"""Operators that torch.fx turns into their out-of-place kin, which would cost memory that the model does not take."""

FIXED_ARGUMENT_KINDS = (type(None), bool, int, float, str)
"""Types of arguments that a graph can have built in."""


def capture_graph(target: Target, *, batch: int = 1, dtype: torch.dtype | None = None) -> Draft:
    """The forward of a model in evaluation mode as a graph; the model itself is only read.

    Raises:
        ArchprofError: its forward decides by values, or takes what no graph can take.
    """
    root = make_stand_in(target.model, dtype=dtype).eval()
    odd = next((name for name, _ in root.named_modules() if re.search(r"[^\w.\- ]", name)), None)
    if odd is not None:
        raise ArchprofError(f"{target.name} has a layer called {odd!r}.", "Letters, digits, _, - and spaces.")
    inputs, fixed = _split_arguments(target, root, batch)
    try:
        with torch.no_grad():
            graph = LayerTracer().trace(root, concrete_args=fixed or None)
        net = Draft(root, graph, tuple(inputs.values()))
        _drop_fixed(graph, fixed)
        net.note_shapes()
    except Exception as error:
        line = find_own_line(error)
        raise ArchprofError(
            f"The forward of {target.name} cannot be made a graph to rewrite{f' ({line})' if line else ''}.",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            "A forward that branches or loops on the values of its tensors has no one graph.",
        ) from error
    _note_losses(net)
    return net


class LayerTracer(fx.Tracer):
    """Layers of torch.nn stay whole; whatever else has a forward is looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return layer_class(m) is not None

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return InPlaceProxy(node, self)


class InPlaceProxy(fx.Proxy):
    """Keeps `x += y` in place."""


def _make_in_place(name: str) -> Callable[[fx.Proxy, Any], Any]:
    function = getattr(operator, name)
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _name in IN_PLACE_OPERATORS:
    setattr(InPlaceProxy, f"__{_name}__", _make_in_place(_name))


def _split_arguments(target: Target, root: nn.Module, batch: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors that go in, by the name of the parameter, and the other arguments with their fixed values."""
    dtype = next((str(p.dtype).removeprefix("torch.") for p in root.parameters() if p.is_floating_point()), "float32")
    args, kwargs = (
        make_input_tensors(tree, device="meta", batch=batch, dtype=dtype) for tree in (target.args, target.kwargs)
    )
    bound = inspect.signature(root.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    tensors = {name: value for name, value in bound.arguments.items() if isinstance(value, torch.Tensor)}
    fixed = {name: value for name, value in bound.arguments.items() if name not in tensors and value not in ((), {})}
    odd = next((name for name, value in fixed.items() if type(value) not in FIXED_ARGUMENT_KINDS), None)
    if odd is not None:
        raise ArchprofError(
            f"The forward of {target.name} cannot be made a graph: {odd} is of type {type(fixed[odd]).__name__}.",
            "Tensors, numbers, strings and None can go into a graph.",
        )
    return tensors, fixed


def _drop_fixed(graph: fx.Graph, fixed: dict[str, Any]) -> None:
    """Take out the arguments that are no tensors, the checks of values, and what only those checks needed."""
    orphans: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        check = node.op == "call_function" and function_name(node) in ("_assert_is_none", "_assert")
        unused = node in orphans and not node.users and node.op != "placeholder"
        if check or unused or (node.op == "placeholder" and node.target in fixed and not node.users):
            orphans.update(node.all_input_nodes)
            graph.erase_node(node)


def _note_losses(net: Draft) -> None:
    """Say what of the model is not in its graph."""
    used = {str(node.target) for node in net.graph.nodes if node.op in ("call_module", "get_attr")}
    for path, module in net.root.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            net.note_refusal("graph", path, "its hooks are no part of the graph and are lost")
        own = {f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)}
        if own and path not in used and not own & used and not _is_inside(path, used):
            net.note_change("graph", path, "is never called in evaluation mode and is left out")


def _is_inside(path: str, used: set[str]) -> bool:
    """Whether a layer is part of one that stays whole."""
    parts = path.split(".")
    return any(".".join(parts[:n]) in used for n in range(1, len(parts)))
