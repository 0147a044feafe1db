"""A profile and what is read off it: each thing is worked out once, when it is first asked for."""

from __future__ import annotations

import math
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

from archprof.analysis import elapsed
from archprof.analysis.counts import Counts, count_rows, sum_counts
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metrics import find_model_bounds
from archprof.analysis.receptive import fields
from archprof.analysis.receptive.fields import LayerFields
from archprof.analysis.tables import stages
from archprof.analysis.tables.call_tree import OWN_LABEL, CallTree, TreeLines
from archprof.analysis.tables.stages import Stage
from archprof.analysis.weight_depth import count_weight_layers
from archprof.facts import liveness
from archprof.facts.records import Layer, Profile
from archprof.facts.steps import find_steady_storages
from archprof.models.published_nets import find_published_errors
from archprof.models.registry import PublishedError

if TYPE_CHECKING:
    from archprof.analysis.predicted_peaks import PeakCells
    from archprof.predicting.memory import MemoryPrediction

ROW_COUNTS = ("params", "buffers", "macs", "flops", "activation", "unknown")
"""A container gets a row of its own when its own work has any of these."""


class ProfileView:
    """One model as tables, comparisons and pages see it.

    Attributes:
        name: as it is called in a sentence.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile: Profile = profile
        self.name = profile.model

    def renamed(self, name: str) -> ProfileView:
        """The same by another name, with what is known already."""
        made = copy(self)
        made.name = name
        return made

    @cached_property
    def published_errors(self) -> tuple[PublishedError, ...]:
        """ImageNet errors that were published of it, the one that counts first."""
        totals = self.profile.totals
        return find_published_errors(self.profile.model, totals.params, totals.macs // max(self.profile.batch, 1))

    @property
    def top5_error(self) -> float | None:
        """Its published ImageNet top-5 error in percent."""
        return self.published_errors[0].top5_error if self.published_errors else None

    @property
    def error_source(self) -> str:
        """What that figure is and where it comes from."""
        return next((f"{one.kind}: {one.source}" for one in self.published_errors), "")

    @property
    def is_competition_entry(self) -> bool:
        """That error is of a competition entry, which may average several nets."""
        return bool(self.published_errors) and self.published_errors[0].kind == "competition entry"

    def layer(self, row: int) -> Layer:
        return self.profile.layers[row]

    @cached_property
    def own_counts(self) -> list[Counts]:
        """What each row did itself."""
        return count_rows(self)

    @cached_property
    def total(self) -> Counts:
        return sum_counts([Counts(), *self.own_counts])

    @cached_property
    def tree(self) -> CallTree:
        return CallTree(self.profile, self.own_counts)

    @cached_property
    def rows(self) -> list[int]:
        """The calls that did or own something, and those that have no parts."""
        return TreeLines(self.tree, ROW_COUNTS).rows()

    @cached_property
    def stopped_rows(self) -> frozenset[int]:
        """The call in which the forward stopped, and all that it did not reach."""
        return frozenset(self.profile.list_stopped_rows())

    @cached_property
    def unsized_rows(self) -> frozenset[int]:
        """The modules that own a parameter without a shape."""
        return frozenset(self.profile.list_unsized_rows())

    @cached_property
    def stages(self) -> list[Stage]:
        return stages.find_stages(self.profile, self.own_counts, self.rows)

    @cached_property
    def time(self) -> Elapsed | None:
        """Measured, of the whole model without marks."""
        return elapsed.find_model_time(self.profile)

    @cached_property
    def bounds(self) -> frozenset[str]:
        """The metrics that are lower bounds."""
        return find_model_bounds(self.profile)

    @cached_property
    def depth(self) -> int:
        """In weight layers."""
        return count_weight_layers(self.profile)

    @cached_property
    def fields(self) -> LayerFields:
        """The receptive field of each row."""
        return fields.compute_fields(self.profile)

    @cached_property
    def field_cells(self) -> list[dict[str, str | None]]:
        """The receptive field of each row as the layer table prints it, by column key."""
        return [fields.field_cells(field) for field in self.fields]

    @cached_property
    def repeated_paths(self) -> frozenset[str]:
        """The modules that are called more than once."""
        return frozenset(layer.path for layer in self.profile.layers if layer.call)

    @cached_property
    def peaks(self) -> list[PeakCells]:
        """Of each row, measured and predicted."""
        from archprof.analysis.predicted_peaks import collect_peaks

        return collect_peaks(self.profile)

    def predict_memory(self, device: str | None = None) -> MemoryPrediction:
        """What it would take on a GPU of that name in the catalogue; `None`: on any."""
        from archprof.predicting import memory, workspaces  # which few tables ask for

        return memory.predict_memory(self.profile, workspaces.choose_workspaces(device))

    def field_extent(self, row: int) -> int | None:
        """Input positions along the longer side that the layer sees; `None` where it has no field."""
        return max(self.fields[row].size or (), default=None)

    @property
    def field(self) -> int | None:
        """The widest receptive field in input pixels along the longer side; `None` where nothing has one."""
        return max(self.fields.widest.size or (), default=None)

    @cached_property
    def reach(self) -> int | None:
        """The same, with what windows show beside gates over all positions, as those of squeeze-and-excitation are.

        `None` where no window shows more than one pixel.
        """
        most = max((self.field or 0, *(max(one.local) for one in self.fields if one.local)))
        return most if most > 1 else None

    @cached_property
    def weight_rows(self) -> tuple[int, ...]:
        """The layers with MACs and weights, in the order of the calls."""
        profile = self.profile
        weighted = (op for op in profile.forward_ops if op.macs and profile.reads_parameter(op))
        return tuple(dict.fromkeys(map(profile.row_of, weighted)))

    @cached_property
    def live_bytes(self) -> list[int]:
        """Bytes live while each op runs: `archprof.facts.liveness.compute_peak_bytes` is their maximum."""
        return liveness.sum_live_bytes(find_steady_storages(self.profile), len(self.profile.ops))

    @cached_property
    def is_convolutional(self) -> bool:
        """Windows slide over its input, and nothing attends: a receptive field says what a position sees."""
        profile = self.profile
        works = [op for op in profile.forward_ops if op.macs]
        attends = any(not any(profile.role_of(i) == "parameter" for i in op.inputs) for op in works)
        return not attends and any(op.window and max(op.window.kernel) > 1 for op in works)

    @property
    def image_positions(self) -> int | None:
        """Positions of the image or volume that goes into the model; `None` where its first input is neither.

        An image may come without a batch, as detectors take them: then a window slides over its two last axes.
        """
        inputs = self.profile.layers[0].inputs if self.profile.layers else ()
        shape = inputs[0].shape if inputs else ()
        slides = (len(op.window.kernel) > 1 for op in self.profile.forward_ops if op.window)
        axes = 2 if len(shape) > 3 else 1 if len(shape) == 3 and next(slides, False) else None
        return math.prod(shape[axes:]) or None if axes else None

    def row_name(self, row: int) -> str:
        """What a reader calls a row: with the number of a later call, and marked where it is a container's own work."""
        layer, last = self.layer(row), row + 1 == len(self.profile.layers)
        inner = not last and self.profile.layers[row + 1].depth > layer.depth
        return f"{layer.path or '(model)'}{layer.repeat_mark}{f' {OWN_LABEL}' if inner and layer.path else ''}"

    def call_key(self, row: int) -> tuple[str, int | None]:
        """What a row is called in any model of its family."""
        return self.layer(row).path, self.layer(row).call
