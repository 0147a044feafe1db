"""`residual`: shortcuts around pairs of convolutions (He et al., 2015, section 3.2)."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from torch import fx, nn

from archprof.rewriting.draft import Draft, find_activation, find_norm_after, shape_of_node, sole_user
from archprof.rewriting.layers import BATCH_NORMS, find_obstacle, is_convolution, remake_layer
from archprof.wording import show_shape

RESIDUAL = "residual"
NO_CONVOLUTION_PAIR = "no two convolutions, each with its activation, follow each other outside of branches"


class ConvUnit(NamedTuple):
    """A convolution, its normalisation if it has one, and the activation that follows."""

    convolution: fx.Node
    before_activation: fx.Node
    activation: fx.Node

    @property
    def has_norm(self) -> bool:
        return self.before_activation is not self.convolution


def add_shortcuts(net: Draft) -> None:
    """Add a shortcut around every pair of convolutions that follow each other on the trunk.

    The trunk is where one value carries everything: nothing of a residual block or a branch is on it. A pair is two
    units of convolution, norm if any, and activation, the second on what the first gives; units are paired from the
    input on; one that is left over, before a pooling say, stays as it is, and one with which no pair can be made gives
    its place to the next. What goes into the pair is added before
    its last activation: as it is where the shape is the same, else through a 1x1 convolution with the stride of the
    pair, without bias, followed by batch norm where the pair has a norm.
    """
    units = _find_units(net, _find_trunk(net))
    holder, count, i = net.find_free_name("skips"), 0, 0
    while i + 1 < len(units):
        first, second = units[i], units[i + 1]
        if second.convolution.args[0] is not first.activation:
            i += 1
            continue
        why = _find_pair_obstacle(net, first, second)
        if why:
            net.note_refusal(RESIDUAL, str(second.convolution.target), why)
            i += 1
            continue
        i += 2
        if _shapes_agree(first, second):
            _connect_shortcut(net, first, second, None)
            continue
        if not count:
            net.root.add_module(holder, nn.ModuleList())
        net.root.get_submodule(holder).append(_make_projection(net, first, second))  # type: ignore[operator]
        _connect_shortcut(net, first, second, f"{holder}.{count}")
        count += 1


def _find_trunk(net: Draft) -> set[fx.Node]:
    """The nodes after which their value is the only tensor that is still needed."""
    nodes = [node for node in net.graph.nodes if node.op != "get_attr" and (shape_of_node(node) or node.op == "output")]
    place = {node: i for i, node in enumerate(net.graph.nodes)}
    last_use = {node: max((place[user] for user in node.users), default=-1) for node in nodes}
    alive: set[fx.Node] = set()
    trunk = set()
    for node in nodes:
        alive = {other for other in alive if last_use[other] > place[node]} | {node}
        if len(alive) == 1:
            trunk.add(node)
    return trunk


def _find_units(net: Draft, trunk: set[fx.Node]) -> list[ConvUnit]:
    """The units whose values are all on the trunk, in order."""
    found = []
    for node in net.graph.nodes:
        if not is_convolution(net.find_layer(node)) or not isinstance(node.args[0], fx.Node):
            continue
        before = find_norm_after(net, node) or node
        after = sole_user(before)
        if (
            after is not None
            and find_activation(net, after) is not None
            and {node.args[0], node, before, after} <= trunk
        ):
            found.append(ConvUnit(node, before, after))
    return found


def _find_pair_obstacle(net: Draft, first: ConvUnit, second: ConvUnit) -> str:
    """Why no shortcut of one convolution fits around a pair, or ""."""
    for path in (str(first.convolution.target), str(second.convolution.target)):
        if net.explain_reuse(path):
            return f"{path} is {net.explain_reuse(path).removeprefix('it is ')}"
    before, after = _find_map_sizes(first, second)
    strides = _multiply_strides(net, first, second)
    if any((size - 1) // stride + 1 != out for size, stride, out in zip(before, strides, after, strict=True)):
        sizes = " to ".join(show_shape(size, "") for size in (before, after))
        return f"the map goes from {sizes}, which no 1x1 convolution with a stride of {strides[0]} does"
    like = net.find_layer(second.convolution)
    assert like is not None
    return "" if _shapes_agree(first, second) else find_obstacle(like)


def _shapes_agree(first: ConvUnit, second: ConvUnit) -> bool:
    """Whether what goes into a pair can be added as it is."""
    return shape_of_node(first.convolution.args[0]) == shape_of_node(second.before_activation)  # type: ignore[arg-type]


def _find_map_sizes(first: ConvUnit, second: ConvUnit) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spatial size before and after the pair."""
    before, after = shape_of_node(first.convolution.args[0]), shape_of_node(second.before_activation)  # type: ignore[arg-type]
    assert before is not None
    assert after is not None
    return before[2:], after[2:]


def _multiply_strides(net: Draft, first: ConvUnit, second: ConvUnit) -> tuple[int, ...]:
    layers: list[Any] = [net.find_layer(unit.convolution) for unit in (first, second)]
    return tuple(map(operator.mul, layers[0].stride, layers[1].stride))


def _make_projection(net: Draft, first: ConvUnit, second: ConvUnit) -> nn.Module:
    """The 1x1 convolution that brings the input of a pair into the shape of its output."""
    source, like = shape_of_node(first.convolution.args[0]), net.find_layer(second.convolution)  # type: ignore[arg-type]
    assert source is not None
    assert is_convolution(like)
    projection = remake_layer(
        like,
        in_channels=source[1],
        kernel_size=1,
        stride=_multiply_strides(net, first, second),
        padding=0,
        dilation=1,
        groups=1,
        bias=False,
        padding_mode="zeros",
    )
    if not second.has_norm:
        return projection  # type: ignore[no-any-return]
    norm = BATCH_NORMS[len(like.kernel_size)](like.out_channels, device="meta", dtype=like.weight.dtype)
    return nn.Sequential(projection, norm).eval()


def _connect_shortcut(net: Draft, first: ConvUnit, second: ConvUnit, projection: str | None) -> None:
    """Add the input of the pair, through its projection if it has one, before the last activation."""
    source, end = first.convolution.args[0], second.before_activation
    with net.graph.inserting_before(second.activation):
        skip = source
        if projection is not None:
            skip = _add_calls(net, projection, source)
        total = net.graph.call_function(operator.iadd, (end, skip))
    second.activation.replace_input_with(end, total)
    kind = f"a projection ({projection})" if projection else "an identity"
    paths = f"{first.convolution.target} and {second.convolution.target}"
    net.note_change(RESIDUAL, str(second.convolution.target), f"{kind} around {paths}")


def _add_calls(net: Draft, path: str, source: Any) -> fx.Node:
    """Call the layer at a path, or its layers one by one."""
    layer = net.root.get_submodule(path)
    paths = [f"{path}.{i}" for i in range(len(layer))] if isinstance(layer, nn.Sequential) else [path]
    for each in paths:
        source = net.graph.call_module(each, (source,))
    return source  # type: ignore[no-any-return]
