"""The forward of a model as a graph of layers and functions that rewrites can edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from archprof.rewriting.layers import ACTIVATIONS, CONVOLUTIONS, NORMS


class Change(NamedTuple):
    """What a rewrite did: its option, the layer, and what came of it."""

    rewrite: str
    path: str
    what: str


class Refusal(NamedTuple):
    """What a rewrite left alone: its option, the layer ("" for the model), and why."""

    rewrite: str
    path: str
    why: str


@dataclass
class Draft:
    """A model that is being rewritten.

    Attributes:
        root: holds the layers; our own copy, without values.
        graph: calls of layers by their path, and of functions.
        inputs: the tensors that go in, in the order of the placeholders.
        changes, refusals: what has been done so far.
    """

    root: nn.Module
    graph: fx.Graph
    inputs: tuple[torch.Tensor, ...]
    changes: list[Change] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def find_layer(self, node: fx.Node) -> nn.Module | None:
        """The layer that a node calls, if it calls one."""
        return self.root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def iterate_layers(self) -> Iterator[tuple[str, list[fx.Node], nn.Module]]:
        """Every layer once: its path, the nodes that call it, itself."""
        nodes: dict[str, list[fx.Node]] = {}
        for node in self.graph.nodes:
            if node.op == "call_module":
                nodes.setdefault(str(node.target), []).append(node)
        for path, users in nodes.items():
            yield path, users, self.root.get_submodule(path)

    def iterate_convolutions(self) -> Iterator[tuple[str, list[fx.Node], Any]]:
        return ((path, nodes, layer) for path, nodes, layer in self.iterate_layers() if isinstance(layer, CONVOLUTIONS))

    def set_layer(self, path: str, layer: nn.Module) -> None:
        """Set the layer at a path."""
        holder, _, name = path.rpartition(".")
        setattr(self.root.get_submodule(holder), name, layer)

    def replace_layer(self, path: str, layers: Sequence[nn.Module]) -> None:
        """Put several layers, called one after the other, in the place of one."""
        calls = next(nodes for known, nodes, _ in self.iterate_layers() if known == path)
        self.set_layer(path, nn.Sequential(*layers))
        for call in calls:
            last = call.args[0]
            with self.graph.inserting_before(call):
                for i in range(len(layers)):
                    last = self.graph.call_module(f"{path}.{i}", (last,))
            call.replace_all_uses_with(last)  # type: ignore[arg-type]
            self.graph.erase_node(call)

    def explain_reuse(self, path: str) -> str:
        """That a layer is called more than once, so that no call of it can be changed alone, or ""."""
        times = sum(node.op == "call_module" and node.target == path for node in self.graph.nodes)
        return f"it is called {times} times" if times > 1 else ""

    def find_free_name(self, wanted: str) -> str:
        """An attribute name that the model does not use yet."""
        while hasattr(self.root, wanted):
            wanted += "_"
        return wanted

    def note_shapes(self) -> Any:
        """Note the shape of every value; the output of the forward on tensors without values."""
        with torch.no_grad():
            return ShapeInterpreter(self.root, graph=self.graph).run(*self.inputs)

    def note_change(self, rewrite: str, path: str, what: str) -> None:
        self.changes.append(Change(rewrite, path, what))

    def note_refusal(self, rewrite: str, path: str, why: str) -> None:
        refusal = Refusal(rewrite, path, why)
        if refusal not in self.refusals:  # a layer that is called again is refused once
            self.refusals.append(refusal)


class PlainInterpreter(fx.Interpreter):
    """Runs a graph; its errors are those of the layers, without the node and the trace that torch.fx adds."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.extra_traceback = False


class Net(nn.Module):
    """A graph with the layers that it calls, under their paths; it runs without code being made of their names."""

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._graph = draft.graph
        for node in draft.graph.nodes:
            if node.op in ("call_module", "get_attr"):
                self._install(str(node.target), draft.root)

    def _install(self, path: str, root: nn.Module) -> None:
        """Take over what stands at `path` in `root`."""
        *parents, name = path.split(".")
        mine: nn.Module = self
        for parent in parents:
            if parent not in mine._modules:
                mine.add_module(parent, nn.Module())
            mine, root = mine.get_submodule(parent), root.get_submodule(parent)
        value = getattr(root, name)
        if isinstance(value, nn.Module):
            mine.add_module(name, value)
        elif isinstance(value, nn.Parameter):
            mine.register_parameter(name, value)
        elif name not in mine._buffers:
            mine.register_buffer(name, value)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return PlainInterpreter(self, graph=self._graph).run(*inputs)


class ShapeInterpreter(PlainInterpreter):
    """Runs a graph and notes the shape of every tensor in it."""

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        node.meta["shape"] = tuple(result.shape) if isinstance(result, torch.Tensor) else None
        return result


def shape_of_node(node: fx.Node) -> tuple[int, ...] | None:
    """The shape of a node's tensor; `None` where its value is no tensor."""
    known: tuple[int, ...] | None = node.meta.get("shape")
    return known


def sole_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def function_name(node: fx.Node) -> str:
    """The name of the function or method that a node calls; "" for anything else."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def find_activation(net: Draft, node: fx.Node | None) -> nn.Module | None:
    """The activation that a node applies, as a layer; `None` if it applies none that is known."""
    if node is None:
        return None
    layer = net.find_layer(node)
    if layer is not None:
        return layer if isinstance(layer, tuple(ACTIVATIONS.values())) else None
    kind = ACTIVATIONS.get(function_name(node).rstrip("_"))
    return kind() if kind else None


def find_norm_after(net: Draft, node: fx.Node) -> fx.Node | None:
    """The normalisation that follows, at once or after a change of the order of dimensions."""
    after = sole_user(node)
    while after is not None and function_name(after) == "permute":
        after = sole_user(after)
    if after is None:
        return None
    named = function_name(after) in ("batch_norm", "layer_norm", "group_norm", "instance_norm")
    return after if named or isinstance(net.find_layer(after), NORMS) else None
