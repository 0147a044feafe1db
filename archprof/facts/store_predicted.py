"""A prediction as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from archprof.facts.overlays import Outside, RowKey
from archprof.facts.predicted import LatencyPrediction, PredictedRow, Seconds
from archprof.facts.store_tables import take_fields


def write_prediction(prediction: LatencyPrediction) -> dict[str, Any]:
    """All of it; the rows as lists, each behind the call that it is about, or what it is about instead."""
    said = take_fields(prediction)
    rows = {name: [_write_row(row) for row in said[name]] for name in ("layers", "rest")}
    return said | rows


def read_prediction(data: Mapping[str, Any]) -> LatencyPrediction:
    """What `write_prediction` wrote; a field that this archprof does not know is left out."""
    known = {field.name for field in fields(LatencyPrediction)}
    read = {
        "tf32": tuple(data["tf32"]),
        "whole": Seconds(*data["whole"]),
        "layers": tuple(_read_row(row) for row in data["layers"]),
        "rest": tuple(_read_row(row) for row in data["rest"]),
        "notes": tuple(data["notes"]),
    }
    return LatencyPrediction(**{name: value for name, value in {**data, **read}.items() if name in known})


def _write_row(row: PredictedRow) -> list[Any]:
    return [row.key.value if isinstance(row.key, Outside) else row.key, *row[1:]]


def _read_row(row: list[Any]) -> PredictedRow:
    key, seconds, *parts = row
    named: RowKey = Outside(key) if isinstance(key, str) else key
    return PredictedRow(named, Seconds(*seconds), *parts)
