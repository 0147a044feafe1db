"""`residual`: shortcuts around pairs of convolutions (He et al., 2015, section 3.2)."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from torch import fx, nn

from archprof.rewriting.draft import Draft, activation, norm_after, shape, sole_user
from archprof.rewriting.layers import BATCH_NORMS, is_convolution, obstacle, remade

NAME = "residual"
NOTHING = "no two convolutions, each with its activation, follow each other outside of branches"


class Unit(NamedTuple):
    """A convolution, its normalisation if it has one, and the activation that follows."""

    convolution: fx.Node
    before_activation: fx.Node
    activation: fx.Node

    @property
    def normed(self) -> bool:
        return self.before_activation is not self.convolution


def residual(net: Draft) -> None:
    """Add a shortcut around every pair of convolutions that follow each other on the trunk.

    The trunk is where one value carries everything: nothing of a residual block or a branch is on it. A pair is two
    units of convolution, norm if any, and activation, the second on what the first gives; units are paired from the
    input on; one that is left over, before a pooling say, stays as it is, and one with which no pair can be made gives
    its place to the next. What goes into the pair is added before
    its last activation: as it is where the shape is the same, else through a 1x1 convolution with the stride of the
    pair, without bias, followed by batch norm where the pair has a norm.
    """
    units = _units(net, _trunk(net))
    holder, count, i = net.free_name("skips"), 0, 0
    while i + 1 < len(units):
        first, second = units[i], units[i + 1]
        if second.convolution.args[0] is not first.activation:
            i += 1
            continue
        why = _obstacle(net, first, second)
        if why:
            net.refuse(NAME, str(second.convolution.target), why)
            i += 1
            continue
        i += 2
        if _fits(first, second):
            _connect(net, first, second, None)
            continue
        if not count:
            net.root.add_module(holder, nn.ModuleList())
        net.root.get_submodule(holder).append(_projection(net, first, second))  # type: ignore[operator]
        _connect(net, first, second, f"{holder}.{count}")
        count += 1


def _trunk(net: Draft) -> set[fx.Node]:
    """The nodes after which their value is the only tensor that is still needed."""
    nodes = [node for node in net.graph.nodes if node.op != "get_attr" and (shape(node) or node.op == "output")]
    place = {node: i for i, node in enumerate(net.graph.nodes)}
    last_use = {node: max((place[user] for user in node.users), default=-1) for node in nodes}
    alive: set[fx.Node] = set()
    trunk = set()
    for node in nodes:
        alive = {other for other in alive if last_use[other] > place[node]} | {node}
        if len(alive) == 1:
            trunk.add(node)
    return trunk


def _units(net: Draft, trunk: set[fx.Node]) -> list[Unit]:
    """The units whose values are all on the trunk, in order."""
    found = []
    for node in net.graph.nodes:
        if not is_convolution(net.layer(node)) or not isinstance(node.args[0], fx.Node):
            continue
        before = norm_after(net, node) or node
        after = sole_user(before)
        if after is not None and activation(net, after) is not None and {node.args[0], node, before, after} <= trunk:
            found.append(Unit(node, before, after))
    return found


def _obstacle(net: Draft, first: Unit, second: Unit) -> str:
    """Why no shortcut of one convolution fits around a pair, or ""."""
    for path in (str(first.convolution.target), str(second.convolution.target)):
        if net.often(path):
            return f"{path} is {net.often(path).removeprefix('it is ')}"
    before, after = _maps(first, second)
    strides = _strides(net, first, second)
    if any((size - 1) // stride + 1 != out for size, stride, out in zip(before, strides, after, strict=True)):
        sizes = " to ".join("x".join(map(str, size)) for size in (before, after))
        return f"the map goes from {sizes}, which no 1x1 convolution with a stride of {strides[0]} does"
    like = net.layer(second.convolution)
    assert like is not None
    return "" if _fits(first, second) else obstacle(like)


def _fits(first: Unit, second: Unit) -> bool:
    """Whether what goes into a pair can be added as it is."""
    return shape(first.convolution.args[0]) == shape(second.before_activation)  # type: ignore[arg-type]


def _maps(first: Unit, second: Unit) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spatial size before and after the pair."""
    before, after = shape(first.convolution.args[0]), shape(second.before_activation)  # type: ignore[arg-type]
    assert before is not None
    assert after is not None
    return before[2:], after[2:]


def _strides(net: Draft, first: Unit, second: Unit) -> tuple[int, ...]:
    layers: list[Any] = [net.layer(unit.convolution) for unit in (first, second)]
    return tuple(map(operator.mul, layers[0].stride, layers[1].stride))


def _projection(net: Draft, first: Unit, second: Unit) -> nn.Module:
    """The 1x1 convolution that brings the input of a pair into the shape of its output."""
    source, like = shape(first.convolution.args[0]), net.layer(second.convolution)  # type: ignore[arg-type]
    assert source is not None
    assert is_convolution(like)
    projection = remade(
        like,
        in_channels=source[1],
        kernel_size=1,
        stride=_strides(net, first, second),
        padding=0,
        dilation=1,
        groups=1,
        bias=False,
        padding_mode="zeros",
    )
    if not second.normed:
        return projection  # type: ignore[no-any-return]
    norm = BATCH_NORMS[len(like.kernel_size)](like.out_channels, device="meta", dtype=like.weight.dtype)
    return nn.Sequential(projection, norm).eval()


def _connect(net: Draft, first: Unit, second: Unit, projection: str | None) -> None:
    """Add the input of the pair, through its projection if it has one, before the last activation."""
    source, end = first.convolution.args[0], second.before_activation
    with net.graph.inserting_before(second.activation):
        skip = source
        if projection is not None:
            skip = _call(net, projection, source)
        total = net.graph.call_function(operator.iadd, (end, skip))
    second.activation.replace_input_with(end, total)
    kind = f"a projection ({projection})" if projection else "an identity"
    paths = f"{first.convolution.target} and {second.convolution.target}"
    net.change(NAME, str(second.convolution.target), f"{kind} around {paths}")


def _call(net: Draft, path: str, source: Any) -> fx.Node:
    """Call the layer at a path, or its layers one by one."""
    layer = net.root.get_submodule(path)
    paths = [f"{path}.{i}" for i in range(len(layer))] if isinstance(layer, nn.Sequential) else [path]
    for each in paths:
        source = net.graph.call_module(each, (source,))
    return source  # type: ignore[no-any-return]
