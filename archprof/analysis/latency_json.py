"""Predictions as JSON: every pass with its rows, in base units."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from archprof.analysis.latency import LatencyAnswer, find_rate
from archprof.analysis.predicted import (
    PredictedTime,
    collect_outside_predictions,
    collect_row_predictions,
)
from archprof.analysis.table import Table
from archprof.facts.predicted import LatencyPrediction, Seconds
from archprof.facts.records import Profile
from archprof.predicting.runs import add_prediction

SAID = ("device", "standing", "batch", "dtype", "autocast", "mode", "eager", "compiled", "channels_last")
GROUPED = ("stage", "kind")
ENDS = ("kernel_seconds", "host_seconds", "roofline_seconds", "complete")


def write_answer(answer: LatencyAnswer) -> str:
    """`{"predictions": [{"device", "batch", "dtype", "mode", "eager", "latency_seconds", "layers", …}, …]}`."""
    said = {
        "schema": 1,
        "model": answer.model,
        "inputs": answer.passes[0][0].inputs,
        "predictions": [_write_pass(answer, place) for place in range(len(answer.passes))],
        "notes": list(answer.list_notes()),
    }
    return json.dumps(said, indent=1) + "\n"


def _write_pass(answer: LatencyAnswer, place: int) -> dict[str, Any]:
    profile, prediction = answer.passes[place]
    decoding, whole = profile.decoding, prediction.whole
    rate = find_rate(profile, prediction)
    return {
        **{name: getattr(prediction, name) for name in SAID},
        "phase": decoding and decoding.phase,
        "context": decoding and decoding.context,
        "tf32": dict(zip(("matmul", "convolution"), prediction.tf32, strict=True)),
        "latency_seconds": whole._asdict(),
        "bound": prediction.bound,
        "samples_per_second": None if decoding else rate,
        "tokens_per_second": rate if decoding else None,
        "cost_of_a_million": answer.price_million(place),
        **{name: getattr(prediction, name) for name in ENDS},
        "layers": list(write_layers(profile, prediction)),
        "rest": list(write_rest(profile, prediction)),
        **(_write_groups(answer.tabulate_rows(profile, prediction, answer.by)) if answer.by in GROUPED else {}),
    }


def _write_groups(table: Table) -> dict[str, Any]:
    """The rows of a table by stage or kind, under the plural of that."""
    name = table.columns[0].key
    return {f"{name}s": [{key: value for key, value in row.items() if key != "complete"} for row in table.records()]}


def write_layers(profile: Profile, prediction: LatencyPrediction) -> Iterator[dict[str, Any]]:
    """A record for each call that takes time: its own work alone."""
    times = collect_row_predictions(add_prediction(profile, prediction))
    for layer, time in zip(profile.layers, times, strict=True):
        if time:
            yield {"path": layer.path, "kind": layer.kind, "call": layer.call, **_write_time(time)}


def write_rest(profile: Profile, prediction: LatencyPrediction) -> Iterator[dict[str, Any]]:
    """What belongs to no call."""
    for key, time in collect_outside_predictions(add_prediction(profile, prediction)).items():
        yield {"what": getattr(key, "value", key), **_write_time(time)}


def _write_time(time: PredictedTime) -> dict[str, Any]:
    return {
        "latency_seconds": Seconds(time.seconds, time.least, time.most)._asdict(),
        "bound": time.bound,
        "arithmetic_seconds": time.arithmetic,
        "memory_seconds": time.memory,
        "launch_seconds": time.launch,
    }
