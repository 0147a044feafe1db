"""Layers cut over the ranks of `tp`, as torch's `parallelize_module` and the plans of transformers do it.

One walk over the ops, forward, backward and optimizer: a cut goes from op to op by rules, and where a tensor goes into
or out of a module that the plan names, it is brought into the layout that the module's style asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from archprof.errors import ArchprofError
from archprof.facts.records import Op, Parameter, Signature
from archprof.predicting.sharding import rules_indexed, rules_views  # noqa: F401  they name their rules
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.gradients import find_gradients
from archprof.predicting.sharding.layout import LOST, WHOLE, Layout, Ranks, is_plain, localize
from archprof.predicting.sharding.lives import Lives
from archprof.predicting.sharding.local_ops import localize_signature, share_storage
from archprof.predicting.sharding.mesh import Axis
from archprof.predicting.sharding.plan import Plan
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.regions import Regions
from archprof.predicting.sharding.rules import Indivisible, Unfollowed, follow
from archprof.predicting.sharding.styles import UNFOLLOWED, Style
from archprof.predicting.sharding.weights import cut_parameters, list_region_styles

Followed = tuple[tuple[Layout, ...], Signature]


def shard_tensors(step: RankStep, plan: Plan) -> RankStep:
    """The step of a rank whose layers are cut as the plan says.

    Raises:
        ArchprofError: the plan names no module, asks of a module what it cannot do, or gives this rank a part of a
            head.
    """
    if step.mesh.tp == 1:
        return step
    match = plan.match if step.mesh.pp == 1 else plan.find_styles
    styles = {path: style for path, style in match(step.profile).items() if not style.is_for_experts}
    return Walk(step, styles, Ranks(step.mesh.tp, step.place.tp)).run()


class Walk:
    """The step while its layers are cut over an axis."""

    kind_of_regions: type[Regions] = Regions

    def __init__(self, step: RankStep, styles: Mapping[str, Style], ranks: Ranks, axis: Axis = "tp") -> None:
        self.step, self.profile, self.ranks = step, step.profile, ranks
        self.editor = StepEditor(step)
        self.parameters = cut_parameters(self.profile, styles, ranks)
        self.layouts: dict[int, Layout] = {}
        self.lives = Lives(self.editor)
        by_module = list_region_styles(self.profile, styles)
        self.regions = self.kind_of_regions(self.editor, self.lives, self.layouts, ranks, by_module, axis)
        self.by_storage = {
            one.storage: (one.spec.shape, layout)
            for one, layout in zip(self.profile.parameters, self.parameters, strict=True)
            if one.storage is not None
        }
        self.ready = self._find_gradients() if axis == "tp" and step.mesh.fsdp > 1 else {}
        self.followed: dict[tuple[int, int, tuple[Layout, ...]], Followed] = {}
        self.reasons = {one.name: "its sums are left out" for one in styles.values() if one.name in UNFOLLOWED}
        self.untold = {path for path, one in styles.items() if one.name in UNFOLLOWED}
        self.summed = self._find_summed(styles)
        self.sized: set[int] = set()

    def find_group(self, op: Op) -> int:
        """Ops of one signature are followed alike within one of these; 0: the plain rules."""
        return 0

    def run(self) -> RankStep:
        self._cut_storages_of_parameters()
        for position, op in enumerate(self.profile.ops):
            self._walk_op(position, op)
        self.lives.settle()
        built = self.editor.build()
        profile = replace(built.profile, parameters=self._list_parameters(), notes=self._list_notes())
        return replace(built, profile=profile)

    def _walk_op(self, position: int, op: Op) -> None:
        for tensor in op.inputs:
            self._meet(tensor, op, position)
        inputs = self.regions.bring(position, op)
        ins = tuple([self.layouts[tensor] for tensor in inputs])
        if any(one != WHOLE for one in ins) or self.find_group(op):
            outs, signature = self._follow(op, ins)
        else:
            outs, signature = (WHOLE,) * len(op.outputs), op.signature
        if signature.macs and self.untold and self._is_untold(op):
            signature = signature._replace(macs=None, flops=None, status="unknown")
        if self.skips_copy(op, outs, signature):
            signature = signature._replace(name="aten.alias.default", kwargs=(), bytes_read=0, bytes_written=0)
            self._share_storage(op.outputs[0], inputs[0])
        self._follow_views(op, inputs)
        for tensor, layout in zip(op.outputs, outs, strict=True):
            self._make(tensor, layout)
        self.lives.note(position, (*inputs, *op.outputs))
        if inputs != op.inputs or signature is not op.signature:
            self.editor.ops[position] = self._check_specs(Op(signature, op.call, op.phase, inputs, op.outputs))
        self.regions.hand_over(position, op)
        if position in self.ready:
            self._bring_gradient(position, op)
        if position in self.summed:
            self._sum_gradient(position, op)

    def _find_gradients(self) -> dict[int, tuple[int, Layout]]:
        """By the last op on it in the backward: the storage of a gradient, and the layout of its parameter."""
        return {
            one.ready: (one.storage, self.parameters[index])
            for index, one in find_gradients(self.profile).items()
            if one.earlier is None
        }

    def _find_summed(self, styles: Mapping[str, Style]) -> dict[int, int]:
        """By the last op on it in the backward: the storage of a gradient of which each rank has its heads' share."""
        paths = {at for at, one in enumerate(self.profile.modules) if (_sums(styles.get(one.path)))}
        gradients = find_gradients(self.profile) if paths else {}
        owners = self.profile.parameters
        return {one.ready: one.kept for index, one in gradients.items() if owners[index].module in paths}

    def _sum_gradient(self, position: int, op: Op) -> None:
        for tensor in (*op.outputs, *op.inputs):
            if self.profile.tensors[tensor].storage == self.summed[position] and tensor in self.layouts:
                self.regions.sum_in_place(tensor, position)
                return

    def _bring_gradient(self, position: int, op: Op) -> None:
        storage, layout = self.ready[position]
        for tensor in (*op.outputs, *op.inputs):
            if self.profile.tensors[tensor].storage == storage and tensor in self.layouts:
                self.regions.bring_at_once(storage, tensor, layout, position)
                return

    def _check_specs(self, op: Op) -> Op:
        """Of tensors that an earlier op has laid out in another way, the signature says so."""
        tensors = self.editor.tensors
        inputs, outputs = (tuple([tensors[at].spec for at in side]) for side in (op.inputs, op.outputs))
        if inputs == op.signature.inputs and outputs == op.signature.outputs:
            return op
        return op._replace(signature=op.signature._replace(inputs=inputs, outputs=outputs))

    def _meet(self, tensor: int, op: Op, position: int) -> None:
        """A tensor that no op has made: a parameter, an input, or where the backward starts."""
        if tensor in self.layouts:
            return
        spec, storage = self.profile.tensors[tensor]
        shape, layout = self.by_storage.get(storage, (None, WHOLE))
        if shape is None:
            layout = self._find_start(tensor, op, position)
        elif shape != spec.shape and layout != WHOLE:
            layout = LOST
        self._make(tensor, layout)

    def _find_start(self, tensor: int, op: Op, position: int) -> Layout:
        """A gradient from outside lies as what it is the gradient of."""
        if op.phase == "forward":
            return WHOLE
        spec, storage = self.profile.tensors[tensor]
        role = self.profile.storages[storage].role
        if role == "gradient":
            others = [self.layouts[at] for at in op.inputs if at in self.layouts and at != tensor]
            shapes = [self.profile.tensors[at].spec.shape for at in op.inputs if at in self.layouts and at != tensor]
            return next((one for one, shape in zip(others, shapes, strict=True) if shape == spec.shape), WHOLE)
        if op.phase == "backward" and role not in ("input", "buffer", "constant"):
            return self.regions.start_gradient(tensor, position)
        return WHOLE

    def _make(self, tensor: int, layout: Layout) -> None:
        """The layout of a tensor, and the size of the storage that it is the first to lie in."""
        if tensor in self.layouts:
            return
        self.layouts[tensor] = layout
        full, storage = self.editor.tensors[tensor]
        local = localize(full, layout)
        self.regions.full[tensor] = full
        if layout.cut is not None:
            self.editor.tensors[tensor] = self.editor.tensors[tensor]._replace(spec=local)
        if storage in self.sized:
            return
        self.sized.add(storage)
        old = self.editor.storages[storage]
        if layout.cut is not None:
            self.editor.storages[storage] = old._replace(nbytes=share_storage(old.nbytes, full, local))
        elif layout.is_lost:
            self.editor.storages[storage] = old._replace(nbytes=-(-old.nbytes // self.ranks.number))

    def _follow(self, op: Op, ins: tuple[Layout, ...]) -> Followed:
        key = (id(op.signature), self.find_group(op), ins)
        if key not in self.followed:
            outs = self.find_layouts(op, ins)
            self.followed[key] = (outs, self.localize(op.signature, ins, outs))
        return self.followed[key]

    def localize(self, signature: Signature, ins: tuple[Layout, ...], outs: tuple[Layout, ...]) -> Signature:
        return localize_signature(signature, ins, outs)

    def find_layouts(self, op: Op, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        if any(one.is_lost for one in ins):
            return (LOST,) * len(op.outputs)
        try:
            return tuple(follow(op.signature, ins))
        except Indivisible as error:
            path = self.profile.path_of(op)
            raise ArchprofError(
                f"{path}: rank {self.ranks.rank} of tp={self.ranks.number} cannot run {op.name}: {error}.",
                "A number of ranks that divides the heads, and those of keys and values.",
                "Weights that are packed in one are cut by packed_colwise(3).",
            ) from error
        except Unfollowed as error:
            self.reasons.setdefault(op.name, str(error))
            return (LOST,) * len(op.outputs)

    def _is_untold(self, op: Op) -> bool:
        """Whether it is of a module of which not all is followed that its style asks for."""
        return self.profile.path_of(op) in self.untold

    def skips_copy(self, op: Op, outs: tuple[Layout, ...], signature: Signature) -> bool:
        """A copy that only lays out row by row is not made where the part lies so already."""
        return (
            op.name == "aten.clone"
            and outs[0].cut is not None
            and any(name == "memory_format" and "contiguous" in str(value) for name, value in signature.kwargs)
            and not is_plain(op.signature.inputs[0])
            and is_plain(signature.inputs[0])
        )

    def _share_storage(self, tensor: int, source: int) -> None:
        """A tensor, and all views of it, lie where another one lies."""
        old, new = self.profile.tensors[tensor].storage, self.editor.tensors[source].storage
        self.editor.tensors[tensor] = self.editor.tensors[tensor]._replace(storage=new)
        self.sized.add(new)
        self.lives.merge(old, new)

    def _follow_views(self, op: Op, inputs: tuple[int, ...]) -> None:
        """A view of what lies elsewhere now lies there too."""
        moved = {}
        for was, now in zip(op.inputs, inputs, strict=True):
            old, new = self.profile.tensors[was].storage, self.editor.tensors[now].storage
            if old != new:
                moved[old] = new
        for tensor in op.outputs if moved else ():
            storage = self.profile.tensors[tensor].storage
            if storage in moved and tensor not in self.layouts:
                self.editor.tensors[tensor] = self.editor.tensors[tensor]._replace(storage=moved[storage])
                self.sized.add(moved[storage])

    def _cut_storages_of_parameters(self) -> None:
        for one, layout in zip(self.profile.parameters, self.parameters, strict=True):
            if one.storage is not None and one.storage not in self.sized and layout.cut is not None:
                old = self.editor.storages[one.storage]
                nbytes = share_storage(old.nbytes, one.spec, localize(one.spec, layout))
                self.editor.storages[one.storage] = old._replace(nbytes=nbytes)
            if one.storage is not None:
                self.sized.add(one.storage)

    def _list_parameters(self) -> tuple[Parameter, ...]:
        return tuple(map(_localize_parameter, self.profile.parameters, self.parameters))

    def _list_notes(self) -> tuple[str, ...]:
        """What could not be followed, and what that means."""
        lines = [f"{name}: {reason}" for name, reason in sorted(self.reasons.items())]
        if not lines:
            return self.profile.notes
        note = f"Not followed over the ranks, so that memory and work are lower bounds: {'; '.join(lines)}."
        return (*self.profile.notes, note)


def _localize_parameter(parameter: Parameter, layout: Layout) -> Parameter:
    local = localize(parameter.spec, layout)
    return parameter._replace(spec=local, nbytes=share_storage(parameter.nbytes, parameter.spec, local))


def _sums(style: Style | None) -> bool:
    return style is not None and style.reduces_gradients
