"""A profile as the conventions read it: what each module call did, on which shapes, with which parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

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
            path = layer.path
            while path:
                path = path.rpartition(".")[0]
                inner.add(path)
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
        after = self.profile.first_user_by_tensor.get(op.outputs[0])
        if after is None or after.name != "aten.view":
            return False
        last = self.profile.first_user_by_tensor.get(after.outputs[0])
        return last is not None and last.name == "aten.permute"

    def is_from_linear(self, op: Op) -> bool:
        """Whether an `addmm` stems from `F.linear`, which alone shapes the product back by this op."""
        after = self.profile.first_user_by_tensor.get(op.outputs[0]) if op.name == "aten.addmm" else None
        return after is not None and after.name == "aten._unsafe_view"


def count_elements(shape: Shape) -> int:
    """Elements of a tensor of this shape."""
    return prod(shape)
