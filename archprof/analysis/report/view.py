"""One model as a page about it needs it: beside what every view has, its table and the roof it is shown under."""

from __future__ import annotations

from functools import cached_property

from archprof.analysis.report.parts import OuterPart, find_equal_blocks, find_outer_parts
from archprof.analysis.table import Table
from archprof.analysis.tables import layers
from archprof.analysis.tables.call_tree import OWN_LABEL
from archprof.analysis.tables.columns import (
    COLUMN_BY_KEY,
    list_measured_columns,
    list_predicted_columns,
    show_activations,
)
from archprof.analysis.view import ProfileView
from archprof.facts.records import Profile
from archprof.predicting.devices import Device

TABLE_KEYS = (
    "kind", "output", "macs", "share_macs", "params", "flops", "backward_macs", "backward_flops", "act_fp32", "rf",
)  # fmt: skip
"""The columns of the per-layer table that a review needs; those of the backward pass in train mode only.

Before the numbers stands what was measured.
"""


class PageView(ProfileView):
    """A profile, what is read off it, and the table of its page."""

    def __init__(self, profile: Profile, device: Device | None = None) -> None:
        """`device`: under whose roof its layers are shown; the one it was measured on if left out."""
        super().__init__(profile)
        self.device = device

    @cached_property
    def table(self) -> Table:
        more = [*list_measured_columns(self.profile), *list_predicted_columns(self.profile)]
        hidden = {"act_fp16"} | ({"share_macs"} if more else set())
        if not self.is_convolutional or not any(field.size for field in self.fields):
            hidden.add("rf")
        if self.profile.mode != "train":
            hidden |= {key for key in TABLE_KEYS if COLUMN_BY_KEY[key].trained}
        keys = show_activations((*TABLE_KEYS[:3], *more, *TABLE_KEYS[3:]), self.profile.dtype)
        return layers.outline_layers(self, [key for key in keys if key not in hidden])

    @cached_property
    def outer_parts(self) -> list[OuterPart]:
        """What findings speak of first."""
        return find_outer_parts(self)

    def list_inside(self, row: int) -> frozenset[int]:
        """A row and all below it."""
        inside, waiting = set[int](), [row]
        while waiting:
            inside.add(here := waiting.pop())
            waiting += self.tree.children[here]
        return frozenset(inside)

    @cached_property
    def equal_blocks(self) -> list[list[int]]:
        """Blocks of which there could be one less."""
        return find_equal_blocks(self)

    @cached_property
    def listed_names(self) -> frozenset[str]:
        """The names of the rows of its table."""
        return frozenset(row.name or "" for row in self.table.rows)

    def table_row_name(self, row: int) -> str:
        """The layer as its table calls it."""
        path = self.row_name(row)
        own = f"{path} {OWN_LABEL}"
        return path if path in self.listed_names or own not in self.listed_names else own
