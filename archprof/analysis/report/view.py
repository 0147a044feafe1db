"""One model as a page about it needs it: its rows, stages, fields and live bytes, each found once."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from math import prod

from archprof.analysis.compare.align import StagedProfile
from archprof.analysis.compare.findings import ModelFacts
from archprof.analysis.receptive import fields
from archprof.analysis.tables import layers
from archprof.analysis.tables.call_tree import OWN_LABEL
from archprof.analysis.tables.columns import BACKWARD_KEYS, list_measured_columns
from archprof.analysis.weight_depth import count_weight_layers
from archprof.facts.records import Profile, Storage
from archprof.models import registry
from archprof.predicting.devices import Device

TABLE_KEYS = ("kind", "output", "params", "macs", "flops", *BACKWARD_KEYS, "act_fp32", "act_fp16", "rf", "share_macs")
"""The columns of the per-layer table that a review needs; those of the backward pass in train mode only.

Behind them stands what was measured; float16 then gives way.
"""


class ProfileView:
    """A profile and what is read off it more than once."""

    def __init__(self, profile: Profile, device: Device | None = None) -> None:
        """`device`: under whose roof its layers are shown; the one it was measured on if left out."""
        self.profile, self.device = profile, device
        self.staged = StagedProfile(profile)
        self.fields = fields.compute_fields(profile)
        more, train = list_measured_columns(profile), profile.mode == "train"
        hidden = {*(() if train else BACKWARD_KEYS), *(("act_fp16",) if more else ())}
        shown = [key for key in (*TABLE_KEYS, *more) if key not in hidden]
        self.table = layers.tabulate_layers(profile, columns=shown)

    @cached_property
    def facts(self) -> ModelFacts:
        entry, widest = registry.BUILTIN_MODELS.get(self.profile.model), self.widest_row
        published = entry.published[0] if entry and entry.published else None
        return ModelFacts(
            name=self.profile.model,
            staged=self.staged,
            depth=count_weight_layers(self.profile),
            field=self.field_extent(widest) if widest is not None else None,
            top5_error=published.top5_error if published else None,
            is_competition_entry=published is not None and published.kind == "competition entry",
        )

    @cached_property
    def widest_row(self) -> int | None:
        """The innermost layer that sees most before anything sees all; `None` when no layer has a field."""
        seen = [row for row, field in enumerate(self.fields) if field.size]
        return max(
            seen, key=lambda row: (prod(self.fields[row].size or ()), self.profile.layers[row].depth), default=None
        )

    def field_extent(self, row: int) -> int | None:
        """Input positions along the longer side that the layer sees; `None` where it has no field."""
        return max(self.fields[row].size or (), default=None)

    @cached_property
    def weight_rows(self) -> tuple[int, ...]:
        """The layers with MACs and weights, in the order of the calls."""
        profile = self.profile
        weights = {
            i for i, tensor in enumerate(profile.tensors) if profile.storages[tensor.storage].role == "parameter"
        }
        ops = (op for op in profile.ops if op.phase == "forward" and op.macs)
        return tuple(dict.fromkeys(profile.call_rows[op.call] for op in ops if not weights.isdisjoint(op.inputs)))

    @cached_property
    def live_bytes(self) -> list[int]:
        """Bytes live while each op runs: `archprof.facts.liveness.compute_peak_bytes` is their maximum."""
        return _live(list(self.profile.storages), len(self.profile.ops))

    @cached_property
    def live_activation_bytes(self) -> list[int]:
        """The activations among them."""
        return _live([one for one in self.profile.storages if one.role == "activation"], len(self.profile.ops))

    @cached_property
    def listed_names(self) -> frozenset[str]:
        """The names of the rows of its table."""
        return frozenset(row.name or "" for row in self.table.rows)

    def table_row_name(self, row: int) -> str:
        """The layer as its table calls it."""
        path = self.staged.row_name(row)
        return (
            path
            if path in self.listed_names or f"{path} {OWN_LABEL}" not in self.listed_names
            else f"{path} {OWN_LABEL}"
        )


def _live(storages: list[Storage], ops: int) -> list[int]:
    """Bytes of these at each op; one without a birth was there from the start, one without a death stays."""
    changes = [0] * (ops + 1)
    for storage in storages:
        changes[storage.born or 0] += storage.nbytes
        changes[ops if storage.died is None else storage.died + 1] -= storage.nbytes
    return list(accumulate(changes[:ops]))
