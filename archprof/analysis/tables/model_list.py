"""The built-in models side by side: what each is, what it costs, and what was published of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.table import Column, Row, Table
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.models.registry import BuiltinModel

COLUMNS = (
    Column("model", "Model", "path", "the name to type", 0),
    Column("year", "Year", "text", "when the architecture was published", 3),
    Column("depth", "Depth", "text", "layers with weights from input to output, without projections and norms", 1),
    Column("input", "Input", "text", "the default input, without the batch dimension", 2),
    METRIC_BY_KEY["params"].column_of_model(0),
    METRIC_BY_KEY["macs"].column_of_model(0, meaning=f"{METRIC_BY_KEY['macs'].whole} at batch 1"),
    METRIC_BY_KEY["top5_error"].column_of_model(4, unit="text"),
    Column("about", "About", "text", "which variant it is", 9),
)


def tabulate_models(listed: Iterable[tuple[BuiltinModel, Profile]]) -> Table:
    """One row per model. Published errors are of the one net unless marked as those of a competition entry."""
    pairs = list(listed)
    rows = tuple(_row(entry, profile) for entry, profile in pairs)
    return Table("Built-in models", COLUMNS, rows, notes=_notes([entry for entry, _ in pairs]))


def _row(entry: BuiltinModel, profile: Profile) -> Row:
    totals = profile.totals
    year = None if entry.year is None else str(entry.year)
    error = None if entry.top5_error is None else f"{'*' if entry.is_competition_entry else ''}{entry.top5_error:.2f}"
    return Row((entry.name, year, str(entry.depth), entry.input, totals.params, totals.macs, error, entry.about))


def _notes(entries: list[BuiltinModel]) -> tuple[str, ...]:
    """How it was counted, and every published error of a competition entry."""
    asked = "MACs at batch 1 and the default input; 1 MAC = 2 FLOPs."
    competed = [
        f"{entry.name}: {figure.top5_error:g} as a competition entry: {figure.source}"
        for entry in entries
        for figure in entry.published
        if figure.kind == "competition entry"
    ]
    return (asked, "Errors are of one net; * of a competition entry.", *competed) if competed else (asked,)
