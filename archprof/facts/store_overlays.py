"""Overlays as JSON, by their kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from archprof.facts.measured import Kernel, Latency, MeasuredMemory, Measurement, Timing
from archprof.facts.overlays import Outside, Overlay, RowKey
from archprof.facts.predicted import LatencyPrediction
from archprof.facts.probed import Activation, Gradient, Probe
from archprof.facts.store_predicted import read_prediction, write_prediction
from archprof.facts.store_tables import read_ran, read_table, take_fields, to_tuples, write_ran, write_table

Rows = Any
"""Lists of a JSON file, whose first field is a key."""


def write_overlay(overlay: Overlay) -> dict[str, Any]:
    """An overlay under its kind."""
    if isinstance(overlay, Measurement):
        return {"kind": overlay.kind, **_write_measurement(overlay)}
    if isinstance(overlay, LatencyPrediction):
        return {"kind": overlay.kind, **write_prediction(overlay)}
    if isinstance(overlay, Probe):
        return {"kind": overlay.kind, **_write_probe(overlay)}
    raise TypeError(f"no overlay of the kind {overlay.kind!r} can be saved")


def read_overlay(data: Mapping[str, Any]) -> Overlay:
    """The overlay that `write_overlay` wrote."""
    own = {name: value for name, value in data.items() if name != "kind"}
    if data["kind"] == Measurement.kind:
        return _read_measurement(own)
    if data["kind"] == LatencyPrediction.kind:
        return read_prediction(own)
    if data["kind"] == Probe.kind:
        return _read_probe(own)
    raise ValueError(f"an overlay of an unknown kind: {data['kind']!r}")


def _write_probe(probe: Probe) -> dict[str, Any]:
    return {
        **take_fields(probe),
        "ran": write_ran(probe.ran),
        "activations": write_table(Activation, probe.activations),
        "gradients": write_table(Gradient, probe.gradients),
    }


def _read_probe(data: Mapping[str, Any]) -> Probe:
    read = {
        "ran": read_ran(data["ran"]),
        "activations": tuple(read_table(Activation, data["activations"])),
        "gradients": tuple(read_table(Gradient, data["gradients"])),
        "notes": tuple(data["notes"]),
    }
    return Probe(**{**data, **read})


def _write_measurement(measurement: Measurement) -> dict[str, Any]:
    """All of it; named tuples are lists in JSON, so each latency gets its names."""
    whole = measurement.memory_whole
    return {
        **asdict(measurement),
        "ran": write_ran(measurement.ran),
        "latencies": [_write_latency(latency) for latency in measurement.latencies],
        "memory": [_write_row(row) for row in measurement.memory],
        "memory_whole": whole and _write_row(whole),
    }


def _write_latency(latency: Latency) -> dict[str, Any]:
    return {
        **latency._asdict(),
        "layers": [_write_row(row) for row in latency.layers],
        "rest": [_write_row(row) for row in latency.rest],
        "whole": _write_row(latency.whole),
        "kernels": [[_write_key(key), kernels] for key, kernels in latency.kernels.items()],
    }


def _write_row(row: Timing | MeasuredMemory) -> list[Any]:
    return [_write_key(row.key), *row[1:]]


def _write_key(key: RowKey) -> int | str:
    return key.value if isinstance(key, Outside) else key


def _read_key(key: int | str) -> RowKey:
    return Outside(key) if isinstance(key, str) else key


def _read_timing(row: Rows) -> Timing:
    key, rounds = row
    return Timing(_read_key(key), to_tuples(rounds))


def _read_memory(row: Rows) -> MeasuredMemory:
    key, *peaks = row
    return MeasuredMemory(_read_key(key), *peaks)


def _read_measurement(data: Mapping[str, Any]) -> Measurement:
    whole = data["memory_whole"]
    read = {
        "ran": read_ran(data["ran"]),
        "latencies": tuple(_read_latency(latency) for latency in data["latencies"]),
        "memory": tuple(_read_memory(row) for row in data["memory"]),
        "memory_whole": _read_memory(whole) if whole else None,
        "notes": to_tuples(data["notes"]),
    }
    return Measurement(**{**data, **read})


def _read_latency(data: Mapping[str, Any]) -> Latency:
    read = {
        "layers": tuple(_read_timing(row) for row in data["layers"]),
        "rest": tuple(_read_timing(row) for row in data["rest"]),
        "whole": _read_timing(data["whole"]),
        "kernels": {_read_key(key): tuple(Kernel(*kernel) for kernel in kernels) for key, kernels in data["kernels"]},
        "notes": to_tuples(data["notes"]),
    }
    return Latency(**{**data, **read})
