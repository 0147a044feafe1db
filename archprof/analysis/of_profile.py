"""What a profile answers of itself: the one place that the methods of `Profile` reach up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.analysis.receptive import fields
from archprof.analysis.table import Table
from archprof.analysis.tables import layers
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.analysis.network.strip import Network


def table(profile: Profile, **options: Any) -> Table:
    """The per-layer table; the options are those of `archprof.analysis.tables.layers.tabulate_layers`."""
    return layers.tabulate_layers(profile, **options)


def graph(profile: Profile, depth: int | None = None) -> Network:
    """The network along its length; the options are those of `archprof.analysis.network.network.build_network`."""
    from archprof.analysis.network.network import build_network

    return build_network(profile, depth=depth)


def receptive_fields(profile: Profile) -> list[dict[str, Any]]:
    """The receptive field of each layer as the JSON gives it, in the order of `Profile.layers`."""
    return [field.to_json() for field in fields.compute_fields(profile)]
