"""What still runs one layer after the other is called as one again."""

from __future__ import annotations

import itertools
from collections import OrderedDict

from torch import fx, nn

from archprof.rewriting.draft import Draft, sole_user


def fold_sequentials(net: Draft) -> None:
    """Call every `nn.Sequential` that still runs as one as one: its layers keep their paths."""
    containers = [path for path, module in net.root.named_modules() if path and _is_sequential(module)]
    for path in sorted(containers, key=lambda path: -path.count(".")):
        nodes = [node for node in net.graph.nodes if str(node.target).startswith(f"{path}.")]
        if nodes and _is_chain(path, nodes):
            _fold_nodes(net, path, nodes)


def _is_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _is_chain(path: str, nodes: list[fx.Node]) -> bool:
    """Whether these are calls of different children of `path`, each on what the one before gave to it alone."""
    children = {str(node.target) for node in nodes}
    direct = all(node.op == "call_module" and "." not in str(node.target)[len(path) + 1 :] for node in nodes)
    simple = all(len(node.args) == 1 and isinstance(node.args[0], fx.Node) and not node.kwargs for node in nodes)
    linked = all(sole_user(a) is b and b.args == (a,) for a, b in itertools.pairwise(nodes))
    return direct and simple and linked and len(children) == len(nodes)


def _fold_nodes(net: Draft, path: str, nodes: list[fx.Node]) -> None:
    layers = OrderedDict((str(node.target).rpartition(".")[2], net.find_layer(node)) for node in nodes)
    net.set_layer(path, nn.Sequential(layers).eval())  # type: ignore[arg-type]
    with net.graph.inserting_before(nodes[0]):
        call = net.graph.call_module(path, nodes[0].args)
    nodes[-1].replace_all_uses_with(call)
    for node in reversed(nodes):
        net.graph.erase_node(node)
