"""The built-in models side by side: what each is, what it costs, and what was published of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from archprof.analysis.table import Column, Row, Table
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.models.registry import BuiltinModel

COLUMNS = (
    Column("model", "Model", "path", "the name to type", 0),
    Column("year", "Year", "text", "when the architecture was published", 3),
    Column("depth", "Depth", "text", "layers with weights from input to output, without projections and norms", 1),
    Column("input", "Input", "text", "the default input, without the batch dimension", 2),
    Column("params", "Params", "count", "parameters", 0),
    Column("macs", "MACs", "count", "multiply-accumulates of one forward at batch 1", 0),
    Column("top5_error", "Top-5 err %", "text", "published ImageNet top-5 error in percent", 4),
    Column("about", "About", "text", "which variant it is", 9),
)


def tabulate_models(listed: Iterable[tuple[BuiltinModel, Profile]]) -> Table:
    """One row a model. Published errors are of the one net unless marked as those of a competition entry."""
    pairs = list(listed)
    rows = tuple(_row(entry, profile) for entry, profile in pairs)
    return Table("Built-in models", COLUMNS, rows, notes=_notes([entry for entry, _ in pairs]))


def _row(entry: BuiltinModel, profile: Profile) -> Row:
    totals = profile.totals
    competition = bool(entry.published) and entry.published[0].kind == "competition entry"
    year = None if entry.year is None else str(entry.year)
    error = None if entry.top5_error is None else f"{entry.top5_error:g}{' *' if competition else ''}"
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
