"""A rewritten model as a Python module of plain torch.nn layers."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from archprof.errors import ArchprofError
from archprof.rewriting.code import (
    GROUP_SOURCE,
    INFIX_SIGNS,
    is_plain_name,
    write_access,
    write_call,
    write_construction,
    write_literal,
    write_tensor,
)

if TYPE_CHECKING:
    from archprof.rewriting.whatif import Rewritten

RESERVED_NAMES = {"self", "torch", "nn", "functional", "math", "group", "OrderedDict"}
"""Names that mean something else in the written module."""


def write_module(rewritten: Rewritten) -> str:
    """The source of a module with the class `Net` and the factory `model`, which needs torch alone.

    (torchvision as well, where the model uses its functions.) Layers keep their paths. Weights start as torch draws
    them: no values are written. Frozen parameters stay frozen, and the net has its dtype.

    Raises:
        ArchprofError: something in the model cannot be written as code, such as a table of numbers, a layer that does
            not keep its arguments, two layers that share one tensor, or parameters of several dtypes.
    """
    net = rewritten.model
    _check_unshared(net)
    imports: set[str] = {"import torch"}
    layers = [*_write_layers(net, imports), *_write_dtype(net), *_write_freezing(net, net, "")]
    signature, body = _ForwardWriter(net, rewritten.graph, imports).write_lines()
    group = GROUP_SOURCE if GROUP_SOURCE in imports else ""
    head = sorted(imports - {GROUP_SOURCE, "from torch.nn import functional"}, key=lambda line: ("torch" in line, line))
    functional = ["from torch.nn import functional"] * ("from torch.nn import functional" in imports)
    torch_lines = [line for line in head if "torch" in line]
    other = [line for line in head if "torch" not in line]
    return "\n".join(
        [
            f'"""{_write_module_docstring(rewritten)}"""',
            "",
            *(["from __future__ import annotations", ""]),
            *([*other, ""] if other else []),
            *torch_lines[:1],
            "from torch import nn",
            *functional,
            *torch_lines[1:],
            *(group.rstrip().split("\n") if group else []),
            "",
            "",
            "class Net(nn.Module):",
            f'    """{_write_class_docstring(rewritten)}"""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *(f"        {line}" for line in layers),
            "",
            f"    def forward(self, {signature}) -> {_write_return_type(rewritten.graph)}:",
            *(f"        {line}" for line in body),
            "",
            "",
            "def model() -> Net:",
            '    """The net with new weights."""',
            "    return Net()",
            "",
        ]
    )


def _write_return_type(graph: fx.Graph) -> str:
    """The type that the forward returns."""
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    return (
        "torch.Tensor"
        if isinstance(result, fx.Node)
        else "dict[str, torch.Tensor]"
        if isinstance(result, dict)
        else "tuple[torch.Tensor, ...]"
    )


def _write_module_docstring(rewritten: Rewritten) -> str:
    """What the module is and how it was made; only words of ours and a cleaned name."""
    counts = Counter(change.rewrite for change in rewritten.applied if change.rewrite != "graph")
    done = ", ".join(f"{name} ({count} change{'s' * (count > 1)})" for name, count in counts.items()) or "no rewrite"
    before, after = rewritten.before.totals, rewritten.after.totals
    return (
        f"{_clean_text(rewritten.before.model)} after {done}; made by `archprof whatif`.\n\n"
        f"Parameters: {before.params:,} before, {after.params:,} now."
        f" MACs: {before.macs:,} before, {after.macs:,} now.\n"
    )


def _write_class_docstring(rewritten: Rewritten) -> str:
    return f"Takes {_clean_text(', '.join(rewritten.after.inputs))}."


def _clean_text(text: str) -> str:
    """A user's text inside a docstring: nothing in it can end the string."""
    return "".join(sign if sign.isalnum() or sign in " ._-:/=()[],<" else "_" for sign in text)


def _check_unshared(net: nn.Module) -> None:
    every = Counter(id(tensor) for _, tensor in net.named_parameters(remove_duplicate=False))
    modules = {id(p): n for n, p in net.named_parameters(remove_duplicate=False) if every[id(p)] > 1}
    if modules:
        raise ArchprofError(f"Two layers share one parameter ({', '.join(modules.values())}).", "Each has its own.")


def _write_layers(net: nn.Module, imports: set[str]) -> Iterator[str]:
    """The statements of `__init__`."""
    for name, parameter in net._parameters.items():
        if parameter is not None:
            yield _write_assignment(name, write_tensor(parameter, name))
    for name, buffer in net._buffers.items():
        if buffer is not None:
            yield f"self.register_buffer({name!r}, {write_tensor(buffer, name)})"
    for name, child in net.named_children():
        yield from _write_assignment(name, write_construction(child, "", imports)).split("\n")


def _write_dtype(net: nn.Module) -> list[str]:
    """The statement that puts the net into its dtype, where torch would make another."""
    dtypes = {str(parameter.dtype) for parameter in net.parameters() if parameter.is_floating_point()}
    if len(dtypes) > 1:
        raise ArchprofError(f"The net has parameters of {' and '.join(sorted(dtypes))}.", "One dtype can be written.")
    return [f"self.to({dtype})" for dtype in dtypes if dtype != str(torch.float32)]


def _write_freezing(net: nn.Module, part: nn.Module | nn.Parameter, path: str) -> Iterator[str]:
    """The statements that freeze what is frozen of a part, the whole of it at once where all is."""
    parameters = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield f"{write_access(net, path) if path else 'self'}.requires_grad_(False)"
    elif isinstance(part, nn.Module):
        held: list[tuple[str, Any]] = [*part.named_parameters(recurse=False), *part.named_children()]
        for name, each in held:
            yield from _write_freezing(net, each, f"{path}.{name}" if path else name)


def _write_assignment(name: str, expression: str) -> str:
    return f"self.{name} = {expression}" if is_plain_name(name) else f"setattr(self, {name!r}, {expression})"


class _ForwardWriter:
    """Writes one statement per node; a name is used again as soon as nobody needs its value any more."""

    def __init__(self, net: nn.Module, graph: fx.Graph, imports: set[str]) -> None:
        self.net, self.graph, self.imports = net, graph, imports
        self.names: dict[fx.Node, str] = {}
        self.uses_left = {node: len(node.users) for node in graph.nodes}
        self.nodes_by_name: dict[str, list[fx.Node]] = {}
        self.parameter_names: set[str] = set()

    def write_lines(self) -> tuple[str, list[str]]:
        """The parameters and the statements."""
        signature, body = [], []
        for node in self.graph.nodes:
            if node.op == "placeholder":
                name = (
                    str(node.target)
                    if is_plain_name(str(node.target)) and node.target not in RESERVED_NAMES
                    else self._find_free_name()
                )
                self.names[node] = name
                self.parameter_names.add(name)
                signature.append(f"{name}: torch.Tensor")
            elif node.op == "get_attr":
                self.names[node] = write_access(self.net, str(node.target))
            elif node.op == "output":
                body.append(f"return {write_literal(node.args[0], self.names)}")
            else:
                body.append(self._write_statement(node))
        return ", ".join(signature), body

    def _write_statement(self, node: fx.Node) -> str:
        expression = self._write_expression(node)
        for source in node.all_input_nodes:
            self.uses_left[source] -= 1
        if node.op == "call_function" and node.target in IN_PLACE_FUNCTIONS and isinstance(node.args[0], fx.Node):
            name = self.names[node.args[0]]
            self.names[node] = name
            self.nodes_by_name.setdefault(name, []).append(node)
            return expression
        if not node.users:
            return expression
        free = [self.names[source] for source in node.all_input_nodes if self._is_free(self.names[source])]
        self._bind_name(node, free[0] if free else self._find_free_name())
        return f"{self.names[node]} = {expression}"

    def _write_expression(self, node: fx.Node) -> str:
        if node.op != "call_module":
            return write_call(node, self.names, self.imports)
        args = [write_literal(value, self.names) for value in node.args]
        args += [f"{key}={write_literal(value, self.names)}" for key, value in node.kwargs.items()]
        return f"{write_access(self.net, str(node.target))}({', '.join(args)})"

    def _is_free(self, name: str) -> bool:
        return name in self.nodes_by_name and not any(self.uses_left[node] for node in self.nodes_by_name[name])

    def _bind_name(self, node: fx.Node, name: str) -> None:
        self.names[node] = name
        self.nodes_by_name[name] = [node]

    def _find_free_name(self) -> str:
        """A name whose value nobody needs."""
        candidates = [*"xyzuvw", *(f"x{i}" for i in range(1, len(self.uses_left) + 1))]
        used = {*self.nodes_by_name, *self.parameter_names}
        free: str = next(name for name in candidates if name not in used or self._is_free(name))
        return free


IN_PLACE_FUNCTIONS = tuple(
    getattr(operator, name) for name, sign in INFIX_SIGNS.items() if len(sign) == 2 and name.startswith("i")
)
