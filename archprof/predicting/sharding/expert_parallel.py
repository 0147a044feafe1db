"""Whole experts dealt over the ranks of `ep`, as transformers' expert-parallel plans do it.

Routing is data: all experts are taken to be chosen equally often, so that a rank gets as many rows as it sends. The
router is on every rank, and each rank has a batch of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from archprof.errors import ArchprofError
from archprof.facts.records import Op, Signature
from archprof.predicting.sharding.exchange import Exchange, Spot
from archprof.predicting.sharding.layout import WHOLE, Cut, Layout, Ranks, is_plain
from archprof.predicting.sharding.local_ops import localize_signature
from archprof.predicting.sharding.plan import Plan
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.regions import Regions
from archprof.predicting.sharding.styles import Style
from archprof.predicting.sharding.tensor_parallel import Walk
from archprof.predicting.sharding.token_exchange import Routing, TokenExchange

ROUTING_NOTE = "Experts are taken to be chosen equally often: each rank gets as many rows of tokens as it sends."


def shard_experts(step: RankStep, plan: Plan) -> RankStep:
    """The step of a rank that has its share of the experts.

    Raises:
        ArchprofError: the plan deals out no experts, their number is not divided by that of the ranks, or layers are
            cut over `tp` too.
    """
    mesh, place = step.mesh, step.place
    if mesh.ep == 1:
        return step
    styles = {path: style for path, style in plan.find_styles(step.profile).items() if style.is_for_experts}
    _check(step, styles)
    rank = (place.dp * mesh.fsdp + place.fsdp) % mesh.ep
    dealt = _ExpertWalk(step, styles, Ranks(mesh.ep, rank), "ep").run()
    profile = dealt.profile
    names = {one.name for one in profile.parameters if _is_expert(one.name, styles)}
    profile = replace(profile, notes=(*profile.notes, ROUTING_NOTE))
    return replace(dealt, profile=profile, own_parameters=step.own_parameters | names)


def _is_expert(name: str, styles: Mapping[str, Style]) -> bool:
    style = styles.get(name) or styles.get(name.rpartition(".")[0])
    return style is not None and style.weights == "experts"


def _check(step: RankStep, styles: Mapping[str, Style]) -> None:
    mesh = step.mesh
    if mesh.tp > 1:
        raise ArchprofError(f"--mesh {mesh}: experts over ep and layers over tp at once are not known here.")
    if mesh.ep != mesh.dp * mesh.fsdp:
        raise ArchprofError(
            f"--mesh {mesh}: experts over some of the ranks of the data axes are not known here.",
            f"ep={mesh.dp * mesh.fsdp}, all of dp x fsdp.",
        )
    experts = [one for one in step.profile.parameters if _is_expert(one.name, styles)]
    if not experts and mesh.pp == 1:
        raise ArchprofError(
            f"{step.profile.model}: no plan deals out its experts over ep={mesh.ep}.",
            'A plan says "layers.*.mlp.experts" = "ep_dispatch_experts" and "layers.*.mlp.experts.*" = "grouped_gemm".',
        )
    for one in experts:
        if one.spec.shape[0] % mesh.ep:
            raise ArchprofError(f"{one.name}: {one.spec.shape[0]} experts cannot be dealt over ep={mesh.ep} evenly.")


class _ExpertRegions(Regions):
    """The modules of experts: tokens are dealt out where they go in, and brought back where they come out."""

    routings: dict[int, Routing]

    def _make_exchange(self, spot: Spot, tensor: int, style: Style) -> Exchange:
        if not hasattr(self, "routings"):
            self.routings = {}
        if spot.call not in self.routings:
            tokens, _, weights = self.profile.calls[spot.call].inputs[:3]
            self.routings[spot.call] = Routing(tokens, weights, self.count_experts(spot.call), [])
        return TokenExchange(self.editor, self.ranks, self.axis, spot, tensor, self.routings[spot.call])

    def count_experts(self, call: int) -> int:
        """Of the module of a call."""
        module = self.profile.calls[call].module
        return next(one.spec.shape[0] for one in self.profile.parameters if one.module == module)


class _ExpertWalk(Walk):
    """The step while its experts are dealt out."""

    kind_of_regions = _ExpertRegions
    regions: _ExpertRegions

    def run(self) -> RankStep:
        ends: dict[int, int] = {}
        for position, op in enumerate(self.profile.ops):
            if op.phase == "forward" and self.find_group(op):
                ends[self.regions.stacks[op.call][-1]] = position
        for op in self.profile.ops:
            if op.phase == "forward" and self.find_group(op) and op.name == "aten.mul":
                self._let_weighted_rows_go(op, ends[self.regions.stacks[op.call][-1]])
        return super().run()

    def _let_weighted_rows_go(self, op: Op, end: int) -> None:
        """Routing weights have their gradient where a token comes from: here they are ones, for which no row is kept.

        Args:
            op: rows times a weight each.
            end: the last op of the module's forward.
        """
        rows, weights = op.signature.inputs[0].shape, op.signature.inputs[-1].shape
        if len(rows) != 2 or weights != (rows[0], 1):
            return
        storage = self.profile.tensors[op.inputs[0]].storage
        self.editor.storages[storage] = self.editor.storages[storage]._replace(saved=False)
        self.lives.died[storage] = (end, 0, 0)
        self.lives.changed.add(storage)

    def find_group(self, op: Op) -> int:
        """The module of experts that an op is in, counted from 1."""
        stack = self.regions.stacks[op.call] if op.phase != "optimizer" else ()
        return 1 + self.profile.calls[stack[-1]].module if stack else 0

    def find_layouts(self, op: Op, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """Within a module of experts: per token, what is dealt out; per expert, the rank's; per choice, all."""
        if not self.find_group(op) or any(one.is_lost for one in ins):
            return super().find_layouts(op, ins)
        known = [self._find_known(op, spec.shape) for spec in op.signature.outputs]
        if all(known):
            return tuple([one for one in known if one])
        if op.name in ("aten.expand", "aten.index") or all(one == WHOLE for one in ins):
            return tuple([one or WHOLE for one in known])
        if op.name == "aten._grouped_mm":
            experts = self._share_experts(self.regions.stacks[op.call][-1])
            return (WHOLE if len(op.signature.outputs[0].shape) == 2 else experts,)
        return super().find_layouts(op, ins)

    def _find_known(self, op: Op, shape: tuple[int, ...]) -> Layout | None:
        """By the shape of what an op makes: a row per token, or a number per expert."""
        region = self.regions.stacks[op.call][-1]
        tokens = self.profile.calls[region].inputs[0]
        if shape == tokens.shape:
            return self.regions.deal_tokens(region, tokens)
        return self._share_experts(region) if shape == (self.regions.count_experts(region),) else None

    def _share_experts(self, region: int) -> Layout:
        count = self.regions.count_experts(region)
        return Layout(Cut(0, 1, count, self.ranks.chunk(count)))

    def localize(self, signature: Signature, ins: tuple[Layout, ...], outs: tuple[Layout, ...]) -> Signature:
        """Its experts get as many rows as all experts had of its own tokens: the products are as many."""
        local = localize_signature(signature, ins, outs)
        if local.status != "unknown" and signature.name.startswith("aten._grouped_mm"):
            return local._replace(macs=signature.macs, flops=signature.flops)
        return local

    def skips_copy(self, op: Op, outs: tuple[Layout, ...], signature: Signature) -> bool:
        """Rows are not repeated for each choice: each is one."""
        if not self.find_group(op) or op.name != "aten.clone" or op.phase != "backward":
            return super().skips_copy(op, outs, signature)
        spec = op.signature.inputs[0]
        return not is_plain(spec) and spec.strides is not None and 0 in spec.strides
