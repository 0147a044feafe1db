"""`no_fc` and `num_classes`: the layers that turn maps into scores."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from archprof.rewriting.draft import Draft, find_activation, function_name, shape_of_node
from archprof.rewriting.layers import (
    CONVOLUTIONS,
    DROPOUTS,
    GLOBAL_POOLS,
    find_obstacle,
    is_convolution,
    remake_layer,
)

FLATTEN_FUNCTIONS = ("flatten", "view", "reshape")


def find_head(net: Draft) -> fx.Node | None:
    """The last linear layer or convolution, where only layers without parameters follow; `None` if there is none."""
    output = next(node for node in net.graph.nodes if node.op == "output")
    results = [node for node in output.all_input_nodes if shape_of_node(node) is not None]
    node = results[0] if len(results) == 1 else None
    while node is not None and not isinstance(net.find_layer(node), (nn.Linear, *CONVOLUTIONS)):
        node = _find_source(net, node)
    return node


def _find_source(net: Draft, node: fx.Node) -> fx.Node | None:
    """The tensor that a node without parameters works on; `None` where it has parameters or several inputs."""
    layer = net.find_layer(node)
    tensors = [other for other in node.all_input_nodes if shape_of_node(other) is not None]
    bare = layer is None or next(layer.parameters(), None) is None
    return tensors[0] if bare and len(tensors) == 1 and node.op != "get_attr" else None


def set_num_classes(net: Draft, count: int) -> None:
    """Give the last layer `count` outputs."""
    node = find_head(net)
    if node is None:
        net.note_refusal("num_classes", "", "no single linear layer or convolution gives the output")
        return
    path, layer = str(node.target), net.find_layer(node)
    key = "out_channels" if is_convolution(layer) else "out_features"
    before = getattr(layer, key)
    if before == count:
        net.note_refusal("num_classes", path, f"it has {count} outputs already")
        return
    assert layer is not None
    why = net.explain_reuse(path) or find_obstacle(layer)
    if is_convolution(layer) and count % layer.groups:
        why = f"{count} outputs cannot be divided into its {layer.groups} groups"
    if why:
        net.note_refusal("num_classes", path, why)
        return
    net.set_layer(path, remake_layer(layer, **{key: count}))
    try:
        net.note_shapes()
    except (RuntimeError, ValueError, IndexError) as error:
        net.set_layer(path, layer)
        net.note_shapes()
        net.note_refusal("num_classes", path, f"a size after it is fixed: {str(error).partition(chr(10))[0]}")
        return
    net.note_change("num_classes", path, f"{before} outputs: now {count}")


def replace_fc(net: Draft) -> None:
    """Put a global average in the place of the first linear layers (Lin et al., 2013, section 3.2).

    The last linear layer stays and takes one number per channel; the layers between, their activations and dropouts go.
    """
    head = find_head(net)
    if head is None or not isinstance(net.find_layer(head), nn.Linear):
        net.note_refusal("no_fc", "" if head is None else str(head.target), "no single linear layer gives the output")
        return
    between, flatten = _find_classifier(net, head)
    path = str(head.target)
    if flatten is None:
        net.note_refusal("no_fc", path, "its input is no flattened map")
        return
    source = flatten.all_input_nodes[0]
    size = shape_of_node(source)
    assert size is not None
    linears = [node for node in between if isinstance(net.find_layer(node), nn.Linear)]
    if not linears and all(side == 1 for side in size[2:]):
        net.note_refusal("no_fc", path, "it stands on a global average already")
        return
    layer: Any = net.find_layer(head)
    again = next((other for other in linears if net.explain_reuse(str(other.target))), head)
    why = net.explain_reuse(str(again.target)) or find_obstacle(layer)
    if why:
        net.note_refusal("no_fc", str(again.target), why)
        return
    flat = _insert_pool(net, source, flatten, size)
    net.set_layer(path, remake_layer(layer, in_features=size[1]))
    head.replace_input_with(head.all_input_nodes[0], flat)
    net.note_change("no_fc", path, f"{layer.in_features} inputs: now {size[1]}, one per channel")
    for node in between:
        if isinstance(net.find_layer(node), nn.Linear):
            net.note_change("no_fc", str(node.target), "left out")
        net.graph.erase_node(node)


def _find_classifier(net: Draft, head: fx.Node) -> tuple[list[fx.Node], fx.Node | None]:
    """The nodes between the flattened map and the head, last first, and the node that flattens it."""
    between: list[fx.Node] = []
    node = head.all_input_nodes[0]
    while len(node.users) == 1:
        if _is_flatten(net, node):
            return between, node
        known = isinstance(net.find_layer(node), (nn.Linear, *DROPOUTS)) or find_activation(net, node) is not None
        if not known and function_name(node) != "dropout":
            break
        between.append(node)
        node = node.all_input_nodes[0]
    return between, None


def _is_flatten(net: Draft, node: fx.Node) -> bool:
    """Whether a node makes a map with channels one long row."""
    if not isinstance(net.find_layer(node), nn.Flatten) and function_name(node) not in FLATTEN_FUNCTIONS:
        return False
    before, after = shape_of_node(node.all_input_nodes[0]), shape_of_node(node)
    return before is not None and after is not None and len(before) in (3, 4, 5) and len(after) == 2


def _insert_pool(net: Draft, source: fx.Node, flatten: fx.Node, size: tuple[int, ...]) -> fx.Node:
    """Average the map to one number per channel, by its adaptive pooling if it has one; the node that flattens that."""
    layer = net.find_layer(source)
    kind = GLOBAL_POOLS[len(size) - 2]
    if isinstance(layer, kind) and len(source.users) == 1 and not net.explain_reuse(str(source.target)):
        net.set_layer(str(source.target), kind(1))
        net.note_change("no_fc", str(source.target), "averages the whole map")
        pooled = source
    elif all(side == 1 for side in size[2:]):
        pooled = source
    else:
        path = net.find_free_name("global_pool")
        net.root.add_module(path, kind(1))
        with net.graph.inserting_before(flatten):
            pooled = net.graph.call_module(path, (source,))
        net.note_change("no_fc", path, "averages the whole map")
    if isinstance(net.find_layer(flatten), nn.Flatten) or function_name(flatten) == "flatten":
        flatten.replace_input_with(source, pooled)
        return flatten
    with net.graph.inserting_before(flatten):  # a view to a fixed size would not fit any more
        new = net.graph.call_method("flatten", (pooled, 1))
    flatten.replace_all_uses_with(new)
    net.graph.erase_node(flatten)
    return new
