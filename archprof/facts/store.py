"""Profiles as JSON: a public interface with a schema number.

`totals`, `unknown_ops` and `layers` are for readers; `modules`, `parameters`, `calls`, `specs`, `tensors`,
`signatures`, `ops`, `storages` and `overlays` are the facts from which they follow: tables that are read by the names
of their columns. A layout stands once in `specs` and what equal ops share once in `signatures`; others name them by
index. `load` reads the facts and refuses a file whose totals or layers do not follow from them.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archprof.errors import ArchprofError, ProfileFileError
from archprof.facts import fits, store_overlays, store_schema1
from archprof.facts.records import (
    Call,
    Cost,
    Failure,
    Kept,
    Layer,
    Module,
    Op,
    Parameter,
    Profile,
    Signature,
    SplitRule,
    Storage,
    Tensor,
    TensorSpec,
    Training,
    Window,
)
from archprof.facts.store_tables import (
    Distinct,
    Record,
    read_column,
    read_decoding,
    read_ran,
    read_table,
    to_tuples,
    write_decoding,
    write_ran,
    write_table,
)
from archprof.files import read_text, write_whole

PROFILE_SCHEMA = 2

LARGEST_FILE_BYTES = 2**28
"""Of a saved profile: one of 20,000 layers has 2**24."""

MALFORMED_ERRORS = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading facts raises where they are of another build."""

LATENCY_SUMMARY_KEYS = ("p50", "p90", "low", "high", "samples")
"""What readers of the JSON get of a layer's samples."""


def save(profile: Profile, path: str | Path) -> None:
    """Write a profile; the file is whole or not there."""
    write_whole(path, profile.to_json())


def load(path: str | Path) -> Profile:
    """Read a profile that `save` wrote, of this schema or an older one.

    Raises:
        ProfileFileError: no such file, not a profile, of a newer schema, or not in accord with itself.
    """
    try:
        text = read_text(path, LARGEST_FILE_BYTES)
    except ArchprofError as error:
        raise ProfileFileError(error.given, "A profile is a .json file made by archprof.") from error
    try:
        return from_json(text)
    except ProfileFileError as error:
        raise ProfileFileError(f"{path}: {error.given}", error.allowed, error.hint) from error


def to_json(profile: Profile, fields: Sequence[Mapping[str, Any]]) -> str:
    """The whole profile, one line per row of each table; `fields`: the receptive field of each layer."""
    data: dict[str, Any] = {
        "schema": PROFILE_SCHEMA,
        "model": profile.model,
        "inputs": profile.inputs,
        "mode": profile.mode,
        "dtype": profile.dtype,
        "batch": profile.batch,
        "totals": asdict(profile.totals),
        "layers": [
            _write_layer(layer, cost) | {"receptive_field": field, "latency_seconds": latency}
            for layer, cost, field, latency in zip(
                profile.layers, profile.costs, fields, _headline_latencies(profile), strict=True
            )
        ],
        "unknown_ops": unknown_ops(profile),
        "environment": write_ran(profile.ran),
        "notes": profile.notes,
        "failure": asdict(profile.failure) if profile.failure else None,
        "decoding": write_decoding(profile.decoding) if profile.decoding else None,
        "unsized": profile.unsized,
        "training": profile.training and profile.training._asdict(),
        "overlays": [store_overlays.write_overlay(overlay) for overlay in profile.overlays],
        **({} if profile.sees_calls else {"sees_calls": False}),
        **({"split_rules": write_table(SplitRule, profile.split_rules)} if profile.split_rules else {}),
        **_write_facts(profile),
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {_format_value(value)}" for key, value in data.items()) + "\n}\n"


def _headline_latencies(profile: Profile) -> list[dict[str, Any] | None]:
    """The headline latency of each layer; `None` where it has none."""
    latency = profile.measurement.latency if profile.measurement else None
    timings = {timing.key: timing for timing in latency.layers} if latency else {}
    found = [None if row.call_index is None else timings.get(row.call_index) for row in profile.layers]
    return [timing and {name: getattr(timing, name) for name in LATENCY_SUMMARY_KEYS} for timing in found]


def unknown_ops(profile: Profile) -> list[dict[str, Any]]:
    """Each op that no rule covers: what it is, whose it is, and what it returned."""
    return [
        {
            "op": op.name,
            "path": profile.path_of(op),
            "phase": op.phase,
            "output_shapes": [profile.tensors[index].spec.shape for index in op.outputs],
        }
        for op in profile.ops
        if op.status == "unknown" and op.phase != "optimizer"
    ]


def _write_layer(layer: Layer, cost: Cost) -> dict[str, Any]:
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
    }


def _write_facts(profile: Profile) -> dict[str, Any]:
    """The tables; layouts and signatures are numbered in the order in which they are first named."""
    specs, signatures = Distinct[TensorSpec](), Distinct[Signature]()

    def numbered(record: Record) -> Record:
        return record._replace(
            inputs=list(map(specs.index, record.inputs)), outputs=list(map(specs.index, record.outputs))
        )

    tables = {
        "modules": write_table(Module, profile.modules),
        "parameters": write_table(
            Parameter, ((name, owner, specs.index(spec), *rest) for name, owner, spec, *rest in profile.parameters)
        ),
        "calls": write_table(Call, map(numbered, profile.calls)),
        "tensors": write_table(Tensor, ((specs.index(spec), storage) for spec, storage in profile.tensors)),
        "ops": write_table(Op, ((signatures.index(op.signature), *op[1:]) for op in profile.ops)),
        "storages": _write_storages(profile.storages),
        "signatures": write_table(Signature, map(numbered, signatures.found)),
    }
    return {"specs": write_table(TensorSpec, specs.found), **tables}


def _write_storages(storages: Sequence[Storage]) -> dict[str, Any]:
    """Most models hold nothing that a pass made: their table goes without the column."""
    table = write_table(Storage, storages)
    if any(one.lasts for one in storages):
        return table
    return {"columns": table["columns"][:-1], "rows": [one[:-1] for one in storages]}


def _format_value(value: Any) -> str:
    """JSON with one line per item where the items are many."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in value) + "\n]"
    if isinstance(value, dict) and "columns" in value:
        return f'{{"columns": {json.dumps(value["columns"])}, "rows": {_format_value(value["rows"])}}}'
    return json.dumps(value, allow_nan=False)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing that is read refers to itself, and the garbage collector takes a third of the time to find that out.

    Frozen and let go again, what was read is among what the collector seldom looks at; what others froze stays so.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@_without_collector()
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
        profile = (store_schema1.read_profile if data["schema"] == 1 else _read_profile)(data)
        object.__setattr__(profile, "was_read", True)
        fits.check_record(profile)
        profile.check()
        follows = _follows(profile, data)
    except (fits.Misfit, *MALFORMED_ERRORS) as error:
        why = error if isinstance(error, fits.Misfit) else repr(error)
        raise ProfileFileError(f"This profile is corrupt: {why}.", hint="Make the profile again.") from error
    if not follows:
        raise ProfileFileError(
            "This profile is not in accord with itself: its totals or layers do not follow from its facts."
        )
    return profile


def _follows(profile: Profile, data: Mapping[str, Any]) -> bool:
    """Whether what the file gives to readers is what its facts say."""
    totals = json.loads(json.dumps(asdict(profile.totals)))
    layers = list(map(_write_layer, profile.layers, profile.costs))
    given = {"lower_bounds": totals["lower_bounds"], **data["totals"]}  # older files do not name them
    if totals != given or len(layers) != len(data["layers"]):
        return False
    return all(
        [*read_column([row[key] for row in layers])] == [*read_column([row[key] for row in data["layers"]])]
        for key in (layers[0] if layers else ())
    )


def _read_profile(data: Mapping[str, Any]) -> Profile:
    specs = read_table(TensorSpec, data["specs"])
    signatures = [
        one._replace(window=one.window and Window(*one.window), keeps=one.keeps and Kept(*one.keeps))
        for one in read_table(Signature, data["signatures"], inputs=specs, outputs=specs)
    ]
    failure = data["failure"]
    return Profile(
        model=data["model"],
        inputs=to_tuples(data["inputs"]),
        batch=data["batch"],
        mode=data["mode"],
        dtype=data["dtype"],
        modules=tuple(read_table(Module, data["modules"])),
        parameters=tuple(read_table(Parameter, data["parameters"], spec=specs)),
        calls=tuple(read_table(Call, data["calls"], inputs=specs, outputs=specs)),
        ops=tuple(read_table(Op, data["ops"], signature=signatures)),
        tensors=tuple(read_table(Tensor, data["tensors"], spec=specs)),
        storages=tuple(read_table(Storage, data["storages"])),
        ran=read_ran(data["environment"]),
        notes=to_tuples(data["notes"]),
        failure=Failure(**failure) if failure else None,
        overlays=tuple(store_overlays.read_overlay(overlay) for overlay in data["overlays"]),
        decoding=read_decoding(data["decoding"]) if data.get("decoding") else None,
        unsized=to_tuples(data.get("unsized", [])),
        training=Training(**data["training"]) if data.get("training") else None,
        sees_calls=data.get("sees_calls", True),
        split_rules=tuple(read_table(SplitRule, data["split_rules"])) if "split_rules" in data else (),
    )
