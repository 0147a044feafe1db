"""Profiles as JSON: a public interface with a schema number.

`totals` and the counts and latencies of `layers` are for readers; `tensors`, `ops`, `storages` and, where real passes
were run, `measurement` are the facts from which they follow. `load` reads the facts and refuses a file whose totals do
not follow from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from archprof.errors import ProfileFileError
from archprof.facts.measured import Kernel, Latency, MeasuredMemory, Measurement, Timing
from archprof.facts.records import (
    CacheTensor,
    Cost,
    Decoding,
    Failure,
    Layer,
    Op,
    Profile,
    Storage,
    Tensor,
    TensorSpec,
    Window,
)
from archprof.files import write_whole

PROFILE_SCHEMA = 1

LATENCY_SUMMARY_KEYS = ("p50", "p90", "low", "high", "samples")
"""What readers of the JSON get of a layer's samples."""


def save(profile: Profile, path: str | Path) -> None:
    """Write a profile; the file is whole or not there."""
    write_whole(path, profile.to_json())


def load(path: str | Path) -> Profile:
    """Read a profile that `save` wrote.

    Raises:
        ProfileFileError: no such file, not a profile, of a newer schema, or not in accord with itself.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileFileError(
            f"{path} cannot be read: {error}.", "A profile is a .json file made by archprof."
        ) from error
    try:
        return from_json(text)
    except ProfileFileError as error:
        raise ProfileFileError(f"{path}: {error.given}", error.allowed, error.hint) from error


def to_json(profile: Profile, fields: Sequence[Mapping[str, Any]]) -> str:
    """The whole profile, one line per layer, op, tensor and storage; `fields`: the receptive field of each layer."""
    data: dict[str, Any] = {
        "schema": PROFILE_SCHEMA,
        "model": profile.model,
        "inputs": profile.inputs,
        "mode": profile.mode,
        "dtype": profile.dtype,
        "batch": profile.batch,
        "totals": asdict(profile.totals),
        "layers": [
            _write_layer(*row)
            for row in zip(profile.layers, profile.costs, fields, _headline_latencies(profile), strict=True)
        ],
        "unknown_ops": unknown_ops(profile),
        "environment": profile.environment,
        "notes": profile.notes,
        "failure": asdict(profile.failure) if profile.failure else None,
        "decoding": profile.decoding._asdict() if profile.decoding else None,
        "tensors": _write_columns(Tensor, ((*tensor.spec, tensor.storage) for tensor in profile.tensors)),
        "ops": _write_columns(Op, profile.ops),
        "storages": _write_columns(Storage, profile.storages),
    }
    if profile.measurement is not None:
        data["measurement"] = _write_measurement(profile.measurement)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {_format_value(value)}" for key, value in data.items()) + "\n}\n"


def _headline_latencies(profile: Profile) -> list[dict[str, Any] | None]:
    """The headline latency of each layer; `None` where it has none."""
    latency = profile.measurement.latency if profile.measurement else None
    timings = {timing[:2]: timing for timing in latency.layers} if latency else {}
    found = [timings.get((layer.path, layer.call)) for layer in profile.layers]
    return [timing and {name: getattr(timing, name) for name in LATENCY_SUMMARY_KEYS} for timing in found]


def unknown_ops(profile: Profile) -> list[dict[str, Any]]:
    """Each op that no rule covers: what it is, whose it is, and what it returned."""
    return [
        {
            "op": op.name,
            "path": profile.layers[op.layer].path,
            "phase": op.phase,
            "output_shapes": [profile.tensors[index].spec.shape for index in op.outputs],
        }
        for op in profile.ops
        if op.status == "unknown"
    ]


def from_json(text: str) -> Profile:
    """The profile that `to_json` wrote; `ProfileFileError` says what is wrong with any other text."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileFileError(f"This is not JSON: {error}.", hint="Make the profile again.") from error
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise ProfileFileError("This JSON is not a profile: it has no schema number.")
    if not 1 <= data["schema"] <= PROFILE_SCHEMA:
        raise ProfileFileError(
            f"This profile has schema {data['schema']}.",
            f"This archprof reads up to {PROFILE_SCHEMA}.",
            "Update archprof.",
        )
    try:
        profile = _read_profile(data)
        profile.check()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ProfileFileError(f"This profile is corrupt: {error!r}.", hint="Make the profile again.") from error
    if json.loads(json.dumps(asdict(profile.totals))) != data["totals"]:
        raise ProfileFileError("This profile is not in accord with itself: its totals do not follow from its ops.")
    return profile


def _write_layer(layer: Layer, cost: Cost, field: Mapping[str, Any], latency: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "path": layer.path,
        "kind": layer.kind,
        "depth": layer.depth,
        "call": layer.call,
        "input_shapes": [spec.shape for spec in layer.inputs],
        "input_dtypes": [spec.dtype for spec in layer.inputs],
        "output_shapes": [spec.shape for spec in layer.outputs],
        "output_dtypes": [spec.dtype for spec in layer.outputs],
        "params": layer.params,
        "trainable_params": layer.trainable,
        "buffers": layer.buffers,
        "param_bytes": layer.param_bytes,
        "buffer_bytes": layer.buffer_bytes,
        "macs": cost.macs,
        "flops": cost.flops,
        "backward_macs": cost.backward_macs,
        "backward_flops": cost.backward_flops,
        "activation_elements": cost.activation_elements,
        "activation_bytes": cost.activation_bytes,
        "unknown_ops": cost.unknown,
        "receptive_field": field,
        "latency_seconds": latency,
    }


def _write_measurement(measurement: Measurement) -> dict[str, Any]:
    """All of it; named tuples are lists in JSON, so each latency gets its names."""
    return asdict(measurement) | {"latencies": [latency._asdict() for latency in measurement.latencies]}


def _write_columns(record: type[NamedTuple], rows: Iterable[Any]) -> dict[str, Any]:
    names = ("shape", "dtype", "storage") if record is Tensor else record._fields
    return {"columns": names, "rows": list(rows)}


def _format_value(value: Any) -> str:
    """JSON with one line an item where the items are many."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in value) + "\n]"
    if isinstance(value, dict) and "columns" in value:
        return f'{{"columns": {json.dumps(value["columns"])}, "rows": {_format_value(value["rows"])}}}'
    return json.dumps(value, allow_nan=False)


def _read_profile(data: dict[str, Any]) -> Profile:
    tensors = data["tensors"]["rows"]
    failure = data["failure"]
    return Profile(
        model=data["model"],
        inputs=tuple(data["inputs"]),
        batch=data["batch"],
        mode=data["mode"],
        dtype=data["dtype"],
        layers=tuple(_read_layer(layer) for layer in data["layers"]),
        ops=tuple(_read_op(row) for row in data["ops"]["rows"]),
        tensors=tuple(Tensor(TensorSpec(tuple(shape), dtype), storage) for shape, dtype, storage in tensors),
        storages=tuple(Storage(*row) for row in data["storages"]["rows"]),
        environment=data["environment"],
        notes=tuple(data["notes"]),
        failure=Failure(**failure) if failure else None,
        measurement=_read_measurement(data["measurement"]) if data.get("measurement") else None,
        decoding=_read_decoding(data["decoding"]) if data.get("decoding") else None,
    )


def _read_measurement(data: dict[str, Any]) -> Measurement:
    whole = data["memory_whole"]
    read = {
        "latencies": tuple(_read_latency(latency) for latency in data["latencies"]),
        "memory": tuple(MeasuredMemory(*row) for row in data["memory"]),
        "memory_whole": MeasuredMemory(*whole) if whole else None,
        "notes": tuple(data["notes"]),
    }
    return Measurement(**(data | read))


def _read_latency(data: dict[str, Any]) -> Latency:
    read = {
        "layers": tuple(_read_timing(row) for row in data["layers"]),
        "rest": tuple(_read_timing(row) for row in data["rest"]),
        "whole": _read_timing(data["whole"]),
        "kernels": {row: tuple(Kernel(*kernel) for kernel in kernels) for row, kernels in data["kernels"].items()},
        "notes": tuple(data["notes"]),
    }
    return Latency(**(data | read))


def _read_timing(row: list[Any]) -> Timing:
    path, call, rounds = row
    return Timing(path, call, _to_tuples(rounds))


def _read_decoding(data: dict[str, Any]) -> Decoding:
    cache = (CacheTensor(layer, name, TensorSpec(tuple(shape), dtype)) for layer, name, (shape, dtype) in data["cache"])
    return Decoding(data["phase"], data["context"], tuple(cache), data["growth"])


def _read_layer(data: dict[str, Any]) -> Layer:
    return Layer(
        path=data["path"],
        kind=data["kind"],
        depth=data["depth"],
        call=data["call"],
        inputs=_read_specs(data["input_shapes"], data["input_dtypes"]),
        outputs=_read_specs(data["output_shapes"], data["output_dtypes"]),
        params=data["params"],
        trainable=data["trainable_params"],
        buffers=data["buffers"],
        param_bytes=data["param_bytes"],
        buffer_bytes=data["buffer_bytes"],
    )


def _read_specs(shapes: list[list[int]], dtypes: list[str]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tuple(shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True))


def _read_op(row: list[Any]) -> Op:
    op = Op(*row)
    window = _read_window(list(op.window)) if op.window else None
    return op._replace(inputs=tuple(op.inputs), outputs=tuple(op.outputs), window=window, args=_to_tuples(op.args))


def _to_tuples(value: Any) -> Any:
    return tuple(_to_tuples(item) for item in value) if isinstance(value, list) else value


def _read_window(row: list[Any]) -> Window:
    kernel, stride, padding, dilation, groups, transposed = row
    return Window(tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), groups, transposed)
