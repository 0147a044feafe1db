"""A profile as the conventions read it: what each module call did, on which shapes, with which parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

from archprof.facts.modules import list_holders
from archprof.facts.records import Layer, Op, Profile

Shape = tuple[int, ...]

VIEW_OPS = frozenset({"aten.view", "aten._unsafe_view", "aten.clone"})
"""What stands between the operands of `torch.matmul` and the product that it calls."""

VECTOR_PRODUCT_OPS = frozenset({"aten.mv", "aten.dot"})
"""`torch.mv` and `torch.dot`, which no other tool counts; `torch.matmul` by a vector becomes the same op."""


@dataclass(frozen=True)
class ModuleCall:
    """One module call with the ops of its own forward.

    Attributes:
        is_leaf: the module holds no other module.
        holder_count: how many modules of the tree hold it, judged by who called it.
    """

    tool_view: ToolView
    layer: Layer
    ops: tuple[Op, ...]
    is_leaf: bool
    holder_count: int

    @property
    def kind(self) -> str:
        return self.layer.kind

    @property
    def input_shape(self) -> Shape:
        """The shape of the first input."""
        return self.layer.inputs[0].shape if self.layer.inputs else ()

    @property
    def output_shape(self) -> Shape:
        """The shape of the first output."""
        return self.layer.outputs[0].shape if self.layer.outputs else ()

    @property
    def macs(self) -> int:
        return sum(op.macs or 0 for op in self.ops)

    def find_op(self, *names: str) -> Op | None:
        """The first of its ops with one of these names."""
        return next((op for op in self.ops if op.name.removeprefix("aten.") in names), None)

    @cached_property
    def param_shapes(self) -> tuple[Shape, ...]:
        """The shapes of the parameters that its ops read, each once, in the order of use; views count as the whole."""
        profile, found = self.tool_view.profile, dict[int, Shape]()
        for op in self.ops:
            for index in op.inputs:
                tensor = profile.tensors[index]
                if profile.role_of(index) == "parameter":
                    found.setdefault(tensor.storage, tensor.spec.shape)
        return tuple(found.values())


class ToolView:
    """The forward pass of a profile, row by row."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    @cached_property
    def module_calls(self) -> tuple[ModuleCall, ...]:
        """Every module call, in order; modules that were never called are left out."""
        profile, ops = self.profile, [list[Op]() for _ in self.profile.calls]
        for op in profile.forward_ops:
            ops[op.call].append(op)
        inner, holders = self._find_inner_paths(), self._count_holders()
        return tuple(
            ModuleCall(self, layer, tuple(ops[layer.call_index]), layer.path not in inner, holders[layer.path])
            for layer in profile.layers
            if layer.call_index is not None
        )

    def _iterate_callers(self) -> Iterator[tuple[Layer, Layer]]:
        """Every row but the model's own, and the row that called it."""
        layers = self.profile.layers
        return ((layer, layers[layer.parent]) for layer in layers if layer.parent is not None)

    def _find_inner_paths(self) -> set[str]:
        """Paths of modules that hold others."""
        inner = {caller.path for _, caller in self._iterate_callers()}
        for layer in self.profile.layers:
            inner.update(list_holders(layer.path))
        return inner

    def _count_holders(self) -> dict[str, int]:
        """By path: 1 for its place in `state_dict`, and 1 for each caller that does not hold that place."""
        elsewhere: dict[str, set[str]] = {layer.path: set() for layer in self.profile.layers}
        for layer, caller in self._iterate_callers():
            if caller.path and not layer.path.startswith(f"{caller.path}."):
                elsewhere[layer.path].add(caller.path)
        return {path: 1 + len(callers) for path, callers in elsewhere.items()}

    def shape(self, index: int) -> Shape:
        return self.profile.tensors[index].spec.shape

    def numel(self, index: int) -> int:
        return self.profile.tensors[index].spec.numel

    def find_factor_shapes(self, op: Op) -> tuple[Shape, Shape]:
        """The shapes of a product's two factors, as they were before `torch.matmul` spread them over the batch."""
        first, second = op.inputs[-2:]
        return self._before_spreading(first), self._before_spreading(second)

    def _before_spreading(self, index: int) -> Shape:
        """A factor of `bmm`: `matmul` expands it, then makes it three-dimensional, and `torch.bmm` itself does not."""
        made, viewed = self.profile.maker_by_tensor.get(index), False
        while made is not None and made.name in VIEW_OPS:
            viewed = True
            made = self.profile.maker_by_tensor.get(made.inputs[0])
        if viewed and made is not None and made.name == "aten.expand":
            return self.shape(made.inputs[0])
        return self.shape(index)

    def may_be_einsum(self, op: Op) -> bool:
        """Whether a `bmm` may stem from `torch.einsum`, which views and permutes what comes out of it."""
        return self.is_used_by(op, "view", "permute")

    def is_from_linear(self, op: Op) -> bool:
        """Whether an `addmm` stems from `F.linear`, which alone shapes the product back by this op."""
        return op.name == "aten.addmm" and self.is_used_by(op, "_unsafe_view")

    def is_used_by(self, op: Op, *names: str) -> bool:
        """Whether the first op to read its result has the first name, the first to read that one's the second, …"""
        for name in names:
            after = self.find_user(op.outputs[0])
            if after is None or after.name != f"aten.{name}":
                return False
            op = after
        return True

    def find_user(self, index: int) -> Op | None:
        """The first op that reads a tensor."""
        return self.profile.first_user_by_tensor.get(index)

    def find_maker(self, index: int) -> str:
        """The name of the op that made a tensor; empty where none did."""
        made = self.profile.maker_by_tensor.get(index)
        return "" if made is None else made.name

    def find_origin(self, index: int, *, viewed: bool = False) -> str:
        """The name of the op that made what a tensor is a view of; `viewed`: empty where it is no view of that."""
        made, views = self.profile.maker_by_tensor.get(index), 0
        while made is not None and made.name in VIEW_OPS:
            made, views = self.profile.maker_by_tensor.get(made.inputs[0]), views + 1
        return "" if made is None or (viewed and not views) else made.name

    @cached_property
    def powers(self) -> set[int]:
        """The tensors that are products of one tensor with itself, or of such products with it and one another."""
        bases: dict[int, int] = {}
        found = set[int]()
        for op in self.profile.ops:
            read = [bases.get(index, index) for index in op.inputs]
            if op.name in (*VIEW_OPS, "aten.expand"):
                bases[op.outputs[0]] = read[0]
            elif op.name in ("aten.mm", "aten.bmm") and read[0] == read[-1]:
                bases[op.outputs[0]] = read[0]
                found.add(op.outputs[0])
        return found


def count_elements(shape: Shape) -> int:
    """Elements of a tensor of this shape."""
    return prod(shape)
