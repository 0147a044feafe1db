"""Where tensors go into and out of the modules that a plan names, and what is sent there.

A module with a style is a region. What goes in is brought into the layout that the style asks for, and what comes out
likewise; in the backward pass the gradients go the same ways back: what was gathered is scattered, and the sum that
is due for what every rank had whole is an all-reduce.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from archprof.errors import ArchprofError
from archprof.facts.records import Op, TensorSpec
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.exchange import Exchange, Spot
from archprof.predicting.sharding.layout import PARTIAL, WHOLE, Cut, Layout, Ranks, lie_alike
from archprof.predicting.sharding.lives import Lives
from archprof.predicting.sharding.mesh import Axis
from archprof.predicting.sharding.styles import Given, Style

Stack = tuple[int, ...]
"""The calls of regions that something is in, from the outermost."""

HELD_ROLES = ("parameter", "buffer", "constant")


class _Entry(NamedTuple):
    """A tensor's layout outside, and whether its gradient leaves as it is, to be summed further out."""

    outside: Layout
    defers: bool


class Regions:
    """The regions of a pass, and the tensors that went into or out of each."""

    def __init__(
        self,
        editor: StepEditor,
        lives: Lives,
        layouts: dict[int, Layout],
        ranks: Ranks,
        styles: Mapping[int, Style],
        axis: Axis = "tp",
    ) -> None:
        self.axis: Axis = axis
        self.editor, self.lives, self.layouts, self.ranks = editor, lives, layouts, ranks
        self.profile = editor.step.profile
        self.styles: dict[int, Style] = {}
        self.stacks = self._build_stacks(styles)
        self.full: dict[int, TensorSpec] = {}
        self.home: dict[int, Stack] = {}
        self.maker: dict[int, int] = {}
        self.latest: dict[int, int] = {}  # of each region: the last op so far
        self.brought: dict[int, int] = {}  # by the storage of a gradient
        self.gradients: set[int] = set()
        self.wrapped: set[int] = set()
        self.changed: dict[tuple[int, int, bool], int] = {}
        self.entries: dict[tuple[int, tuple[int, ...]], _Entry] = {}
        self.exits: dict[tuple[int, tuple[int, ...]], Layout] = {}
        self.outputs = self._find_outputs()

    def _build_stacks(self, styles: Mapping[int, Style]) -> list[Stack]:
        stacks: list[Stack] = []
        for index, call in enumerate(self.profile.calls):
            stack = () if call.parent is None else stacks[call.parent]
            style = styles.get(call.module)
            if style is not None and style.is_region:
                self.styles[index] = style
                stack = (*stack, index)
            stacks.append(stack)
        return stacks

    def _find_outputs(self) -> dict[int, int]:
        """The tensor that each region returned: the last that an op of it made in that layout."""
        found: dict[int, int] = {}
        for op in self.profile.ops:
            if op.phase != "forward":
                continue
            for region in self.stacks[op.call]:
                returned = self.profile.calls[region].outputs
                for tensor in op.outputs:
                    if returned and self.profile.tensors[tensor].spec == returned[0]:
                        found[region] = tensor
        return found

    def bring(self, position: int, op: Op) -> tuple[int, ...]:
        """What an op reads, each in the layout that it has where the op is; says where its results are."""
        if op.phase == "optimizer":
            storages = [self.profile.tensors[one].storage for one in op.inputs]
            brought = [self.brought.get(storage, one) for storage, one in zip(storages, op.inputs, strict=True)]
            return self._bring_to_step(position, op, tuple(brought))
        gradients = [tensor for tensor in op.inputs if tensor in self.gradients]
        stack = self.stacks[op.call]
        if gradients and op.name == "aten.add":
            stack = self._find_stack_of_sum(stack, gradients)
        self.latest.update(dict.fromkeys(stack, position))
        for tensor in op.outputs:
            self.home.setdefault(tensor, stack)
            self.maker.setdefault(tensor, position)
            if gradients:
                self.gradients.add(tensor)
        if not stack and not any(self.home.get(tensor) for tensor in op.inputs):
            return op.inputs
        inputs = tuple([self._carry(tensor, stack, position) for tensor in op.inputs])
        if (
            op.name == "aten.add"
            and len(gradients) > 1
            and {self.layouts[one].cut is None for one in inputs} == {True, False}
        ):
            return self._bring_to_step(position, op, inputs)
        return inputs

    def _bring_to_step(self, position: int, op: Op, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Each time that an optimizer reads a gradient, DTensor brings it into the layout of its parameter."""
        lists = op.args[0] if op.args else ()
        count = len(lists) if isinstance(lists, tuple) and lists else 1
        owners: dict[int, Layout] = {}
        for at, tensor in enumerate(inputs):
            if self.layouts[tensor].cut is not None:
                owners.setdefault(at % count, self.layouts[tensor])
        return tuple([
            self._bring_gradient(tensor, owners.get(at % count), position, op) for at, tensor in enumerate(inputs)
        ])  # fmt: skip

    def sum_in_place(self, tensor: int, position: int) -> None:
        """What a hook of a parameter does when its gradient is there."""
        op = self.profile.ops[position]
        exchange = Exchange(self.editor, self.ranks, self.axis, Spot(position, True, op.call, op.phase), tensor)
        exchange.change(self.full[tensor], PARTIAL, WHOLE, in_place=True)
        self.layouts[tensor] = WHOLE

    def bring_at_once(self, storage: int, tensor: int, owner: Layout, position: int) -> None:
        """FSDP brings the gradient of a DTensor into the layout of its parameter before it scatters it."""
        old, full, op = self.layouts[tensor], self.full[tensor], self.profile.ops[position]
        if old.is_lost or lie_alike(old, owner) or (old.is_partial and not self.home.get(tensor)):
            return
        exchange = Exchange(self.editor, self.ranks, self.axis, Spot(position, True, op.call, op.phase), tensor)
        made, first, last = exchange.change(full, old, owner)
        self.layouts[made], self.full[made] = owner, full
        before, after = (self.editor.tensors[at].storage for at in (tensor, made))
        self.editor.storages[before] = self.editor.storages[before]._replace(role="temporary")
        self.lives.move(before, after, first, last, is_output=True)
        self.brought[storage] = made

    def _bring_gradient(self, tensor: int, owner: Layout | None, position: int, op: Op) -> int:
        old, full = self.layouts[tensor], self.full[tensor]
        if old.is_partial and not self.home.get(tensor):  # no DTensor: nobody sums it
            self.layouts[tensor] = WHOLE
            return tensor
        new = owner if owner is not None and _fits(owner, full.shape) else WHOLE
        if old.is_lost or old.cut is not None or lie_alike(old, new):
            return tensor
        exchange = Exchange(self.editor, self.ranks, self.axis, Spot(position, False, op.call, op.phase), tensor)
        made = exchange.change(full, old, new, role="communication").tensor
        self.editor.move_death(self.editor.tensors[made].storage, (position, 0, 0))
        self.layouts[made], self.full[made] = new, full
        return made

    def _find_stack_of_sum(self, stack: Stack, gradients: list[int]) -> Stack:
        """Gradients of one tensor are summed outside the regions from which they come, by whichever came last."""
        while stack and any(
            self.home.get(one, ())[: len(stack)] != stack and (one, stack[-1], True) not in self.changed
            for one in gradients
        ):
            stack = stack[:-1]
        return stack

    def _carry(self, tensor: int, stack: Stack, position: int) -> int:
        """Out of the regions where it was made, and into those where it is read."""
        if self._is_held(tensor):
            return tensor
        home = self.home.get(tensor, ())
        common = 0
        while common < min(len(home), len(stack)) and home[common] == stack[common]:
            common += 1
        at = self.maker.get(tensor, position)
        for region in reversed(home[common:]):
            # A backward comes to where a module was entered when all else in it is done.
            late = tensor in self.gradients
            tensor = self._leave(tensor, region, self.latest.get(region, at) if late else at)
        for region in stack[common:]:
            tensor = self._enter(tensor, region, position)
        return tensor

    def _make_exchange(self, spot: Spot, tensor: int, style: Style) -> Exchange:
        return Exchange(self.editor, self.ranks, self.axis, spot, tensor)

    def _is_held(self, tensor: int) -> bool:
        return self.editor.storages[self.editor.tensors[tensor].storage].role in HELD_ROLES

    def hand_over(self, position: int, op: Op) -> None:
        """What a module returns is brought into its layout at once, whoever reads it."""
        if op.phase != "forward":
            return
        for tensor in op.outputs:
            for region in reversed(self.stacks[op.call]):
                if self.outputs.get(region) != tensor:
                    break
                tensor = self._leave(tensor, region, position)

    def start_gradient(self, tensor: int, position: int) -> Layout:
        """Of a gradient that comes from outside: the layout of the last result of its shape."""
        self.gradients.add(tensor)
        shape = self.profile.tensors[tensor].spec.shape
        for op in reversed(self.profile.forward_ops):
            for made in op.outputs:
                if self.profile.tensors[made].spec.shape == shape and made in self.layouts:
                    return self.layouts[self._carry(made, (), position)]
        return WHOLE

    def _leave(self, tensor: int, region: int, position: int) -> int:
        key = (tensor, region, False)
        if key not in self.changed:
            old, style, full = self.layouts[tensor], self.styles[region], self.full[tensor]
            if tensor in self.gradients:
                entry = self.entries.get((region, full.shape))
                new = old if entry is None or entry.defers else entry.outside
            else:
                new = old if style.output is None else self._read(style.output, full, old)
                self.exits[region, full.shape] = old
            self.changed[key] = self._change(tensor, new, Spot(position, True, region, self._phase(tensor)), style)
            if not (tensor in self.gradients or style.is_local or style.prepares):
                self.wrapped.add(self.changed[key])
        return self.changed[key]

    def _enter(self, tensor: int, region: int, position: int) -> int:
        key = (tensor, region, True)
        if key not in self.changed:
            style, full, old = self.styles[region], self.full[tensor], self.layouts[tensor]
            if tensor in self.gradients:
                inside = self.exits.get((region, full.shape), old)
                new = old if old.is_partial else Layout(inside.cut)
            else:
                new = self._find_entry(tensor, region)
            self.changed[key] = self._change(tensor, new, Spot(position, False, region, self._phase(tensor)), style)
            if style.prepares and not style.is_local and tensor not in self.gradients:
                self.wrapped.add(self.changed[key])
        return self.changed[key]

    def _find_entry(self, tensor: int, region: int) -> Layout:
        """The layout in which a region reads a tensor of the forward pass."""
        style, full, old = self.styles[region], self.full[tensor], self.layouts[tensor]
        if style.dispatches and full.shape == self.profile.calls[region].inputs[0].shape:
            new = self.deal_tokens(region, full)
            self.entries[region, full.shape] = _Entry(old, False)
            return new
        if style.desired is None:
            return old
        is_wrapped = tensor in self.wrapped
        if style.input is not None and not is_wrapped and full in self.profile.calls[region].inputs[:1]:
            self._check(style.input, full, old, region)
        new = self._read(style.desired, full, old)
        self.entries[region, full.shape] = _Entry(old, is_wrapped and new == old)
        return new

    def deal_tokens(self, region: int, full: TensorSpec) -> Layout:
        """The rows that the experts of this rank get, where all experts get as many: as many as it sends."""
        tokens = full.shape[0]
        chosen = self.profile.calls[region].inputs[1].shape[-1]
        return Layout(Cut(0, 1, tokens, tokens * chosen))

    def _check(self, given: Given, full: TensorSpec, layout: Layout, region: int) -> None:
        """Raise `ArchprofError` where a plan says that a tensor lies otherwise than it does."""
        if layout.is_lost or not full.shape or not full.dtype.startswith(("float", "bfloat")):
            return
        said = given[1] % len(full.shape) if given[0] == "shard" else None
        found = layout.cut.dim if layout.cut else None
        if said != found:
            path = self.profile.modules[self.profile.calls[region].module].path
            says = "every rank has whole" if said is None else f"is cut along dimension {said}"
            does = "every rank has it whole" if found is None else f"it is cut along dimension {found}"
            raise ArchprofError(
                f"{path}: {self.styles[region].name} takes an input that {says}, and {does}.",
                "A layer before it with such an output, or an option that says how the input lies.",
                'Try in the plan: {style = "colwise", input = "shard(1)"}',
            )

    def _read(self, given: Given, full: TensorSpec, old: Layout) -> Layout:
        """The layout that a plan means, for a tensor that lies in another one."""
        if given[0] == "replicate" or not full.shape:
            return WHOLE
        if given[0] == "partial":
            return old
        dim = given[1] % len(full.shape)
        return old if old.cut is not None and old.cut.dim == dim else self.ranks.cut(full.shape, dim)

    def _phase(self, tensor: int):  # type: ignore[no-untyped-def]
        return "backward" if tensor in self.gradients else "forward"

    def _change(self, tensor: int, new: Layout, spot: Spot, style: Style) -> int:
        """The tensor in another layout; itself where it lies so."""
        old = self.layouts[tensor]
        if old.is_lost or lie_alike(old, new):
            return tensor
        exchange = self._make_exchange(spot, tensor, style)
        made, first, last = exchange.change(self.full[tensor], old, new, in_place=style.in_place)
        before, after = (self.editor.tensors[at].storage for at in (tensor, made))
        if before != after:
            self.lives.move(before, after, first, last, is_output=spot.behind)
        self.layouts[made], self.full[made] = new, self.full[tensor]
        if tensor in self.gradients:
            self.gradients.add(made)
        return made


def _fits(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Whether a tensor of that shape can be cut so."""
    cut = layout.cut
    return cut is not None and len(shape) > cut.dim and shape[cut.dim] == cut.outer * cut.whole * cut.inner
