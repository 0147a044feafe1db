"""One model as a page about it needs it: its rows, stages, fields and live bytes, each found once."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from math import prod

from archprof.analysis.compare.align import Side
from archprof.analysis.compare.findings import Facts
from archprof.analysis.receptive import fields
from archprof.analysis.tables import layers
from archprof.analysis.tables.call_tree import OWN
from archprof.analysis.tables.columns import BACKWARD, measured
from archprof.analysis.weight_depth import weight_layers
from archprof.facts.records import Profile, Storage
from archprof.models import registry
from archprof.predicting.devices import Device

SHOWN = ("kind", "output", "params", "macs", "flops", *BACKWARD, "act_fp32", "act_fp16", "rf", "share_macs")
"""The columns of the per-layer table that a review needs; those of the backward pass in train mode only.

Behind them stands what was measured; float16 then gives way.
"""


class Subject:
    """A profile and what is read off it more than once."""

    def __init__(self, profile: Profile, device: Device | None = None) -> None:
        """`device`: under whose roof its layers are shown; the one it was measured on if left out."""
        self.profile, self.device = profile, device
        self.side = Side(profile)
        self.fields = fields.fields(profile)
        more, train = measured(profile), profile.mode == "train"
        hidden = {*(() if train else BACKWARD), *(("act_fp16",) if more else ())}
        shown = [key for key in (*SHOWN, *more) if key not in hidden]
        self.table = layers.table(profile, columns=shown)

    @cached_property
    def facts(self) -> Facts:
        entry, widest = registry.ENTRIES.get(self.profile.model), self.widest
        published = entry.published[0] if entry and entry.published else None
        return Facts(
            name=self.profile.model,
            side=self.side,
            depth=weight_layers(self.profile),
            field=self.extent(widest) if widest is not None else None,
            error=published.top5_error if published else None,
            competed=published is not None and published.kind == "competition entry",
        )

    @cached_property
    def widest(self) -> int | None:
        """The innermost layer that sees most before anything sees all; `None` when no layer has a field."""
        seen = [row for row, field in enumerate(self.fields) if field.size]
        return max(
            seen, key=lambda row: (prod(self.fields[row].size or ()), self.profile.layers[row].depth), default=None
        )

    def extent(self, row: int) -> int | None:
        """Input positions along the longer side that the layer sees; `None` where it has no field."""
        return max(self.fields[row].size or (), default=None)

    @cached_property
    def weighted(self) -> tuple[int, ...]:
        """The layers with MACs and weights, in the order of the calls."""
        profile = self.profile
        weights = {
            i for i, tensor in enumerate(profile.tensors) if profile.storages[tensor.storage].role == "parameter"
        }
        ops = (op for op in profile.ops if op.phase == "forward" and op.macs)
        return tuple(dict.fromkeys(op.layer for op in ops if not weights.isdisjoint(op.inputs)))

    @cached_property
    def live(self) -> list[int]:
        """Bytes live while each op runs: `archprof.facts.liveness.peak` is their maximum."""
        return _live(list(self.profile.storages), len(self.profile.ops))

    @cached_property
    def live_activations(self) -> list[int]:
        """The activations among them."""
        return _live([one for one in self.profile.storages if one.role == "activation"], len(self.profile.ops))

    @cached_property
    def listed(self) -> frozenset[str]:
        """The names of the rows of its table."""
        return frozenset(row.name or "" for row in self.table.rows)

    def name(self, row: int) -> str:
        """The layer as its table calls it."""
        path = self.side.path(row)
        return path if path in self.listed or f"{path} {OWN}" not in self.listed else f"{path} {OWN}"


def _live(storages: list[Storage], ops: int) -> list[int]:
    """Bytes of these at each op; one without a birth was there from the start, one without a death stays."""
    changes = [0] * (ops + 1)
    for storage in storages:
        changes[storage.born or 0] += storage.nbytes
        changes[ops if storage.died is None else storage.died + 1] -= storage.nbytes
    return list(accumulate(changes[:ops]))
