"""Files of schema 1: a row was a call and its module in one, every op said all of itself, tables had their order.

They are written anew in the terms of today. What they do not tell is made up as little as can be: a module's tensors
are one stand-in each for its trainable and frozen parameters and its buffers, under names in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from archprof.facts.measured import Kernel, Latency, MeasuredMemory, Measurement, Timing
from archprof.facts.modules import find_holder
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.ran import Ran
from archprof.facts.records import (
    Call,
    Failure,
    Module,
    Op,
    Parameter,
    Profile,
    Signature,
    Storage,
    Tensor,
    TensorSpec,
    Window,
)
from archprof.facts.store_tables import read_decoding, read_ran, read_table, to_tuples

Row = Mapping[str, Any]
OldKeys = Mapping[tuple[str, int | None], RowKey]
"""By path and call of a row: what it is about."""

OP_COLUMNS = (
    "name", "layer", "phase", "inputs", "outputs", "macs", "flops", "bytes_read", "bytes_written", "status", "window",
    "args",
)  # fmt: skip

VERSION_KEYS = ("torch", "cuda", "cudnn")


def read_profile(data: Mapping[str, Any]) -> Profile:
    """The profile that a file of schema 1 holds."""
    rows: list[Row] = data["layers"]
    modules, calls = _read_modules(rows), _read_calls(rows)
    tensors = tuple(
        Tensor(TensorSpec(tuple(shape), dtype), storage) for shape, dtype, storage in data["tensors"]["rows"]
    )
    call_of_row = _number_calls(rows)
    failure, measurement, decoding = data["failure"], data.get("measurement"), data.get("decoding")
    return Profile(
        model=data["model"],
        inputs=to_tuples(data["inputs"]),
        batch=data["batch"],
        mode=data["mode"],
        dtype=data["dtype"],
        modules=modules,
        parameters=tuple(_read_parameters(rows, modules, data["dtype"])),
        calls=calls,
        ops=tuple(
            _read_op(dict(zip(OP_COLUMNS, row, strict=True)), call_of_row, tensors) for row in data["ops"]["rows"]
        ),
        tensors=tensors,
        storages=tuple(read_table(Storage, data["storages"])),
        ran=read_ran(data["environment"]),
        notes=to_tuples(data["notes"]),
        failure=Failure(call_of_row[failure["layer"]], failure["error"], failure["message"]) if failure else None,
        overlays=(_read_measurement(measurement, rows),) if measurement else (),
        decoding=read_decoding(decoding) if decoding else None,
    )


def _read_modules(rows: list[Row]) -> tuple[Module, ...]:
    """Each path once; who holds it is the nearest path above it that is there."""
    kinds = {row["path"]: row["kind"] for row in reversed(rows)}
    paths = list(dict.fromkeys(row["path"] for row in rows))
    number = {path: index for index, path in enumerate(paths)}
    return tuple(Module(path, kinds[path], find_holder(path, number)) for path in paths)


def _number_calls(rows: list[Row]) -> dict[int, int]:
    """The index of each row's call, by the index of the row."""
    called = [index for index, row in enumerate(rows) if row["call"] is not None]
    return {row: call for call, row in enumerate(called)}


def _read_calls(rows: list[Row]) -> tuple[Call, ...]:
    number = {module.path: index for index, module in enumerate(_read_modules(rows))}
    calls: list[Call] = []
    open_calls: list[int] = []
    for row in rows:
        if row["call"] is None:
            continue
        del open_calls[row["depth"] :]
        parent = open_calls[-1] if open_calls else None
        open_calls.append(len(calls))
        inputs, outputs = _read_specs(row, "input"), _read_specs(row, "output")
        calls.append(Call(number[row["path"]], parent, row["call"], inputs, outputs))
    return tuple(calls)


def _read_specs(row: Row, side: str) -> tuple[TensorSpec, ...]:
    pairs = zip(row[f"{side}_shapes"], row[f"{side}_dtypes"], strict=True)
    return tuple(TensorSpec(tuple(shape), dtype) for shape, dtype in pairs)


def _read_parameters(rows: list[Row], modules: tuple[Module, ...], dtype: str) -> Iterator[Parameter]:
    number = {module.path: index for index, module in enumerate(modules)}
    for row in rows:
        if row["call"]:
            continue
        params, trains = row["params"], row["trainable_params"]
        frozen_bytes = row["param_bytes"] * (params - trains) // (params or 1)
        stand_ins = (
            ("trainable", trains, row["param_bytes"] - frozen_bytes),
            ("frozen", params - trains, frozen_bytes),
            ("buffers", row["buffers"], row["buffer_bytes"]),
        )
        for what, count, nbytes in stand_ins:
            if count:
                name = f"{row['path']}.({what})".lstrip(".")
                role: Literal["parameter", "buffer"] = "buffer" if what == "buffers" else "parameter"
                spec = TensorSpec((count,), dtype)
                yield Parameter(name, number[row["path"]], spec, what == "trainable", role, nbytes)


def _read_op(row: Row, call_of_row: Mapping[int, int], tensors: tuple[Tensor, ...]) -> Op:
    inputs, outputs = tuple(row["inputs"]), tuple(row["outputs"])
    signature = Signature(
        row["name"],
        to_tuples(row["args"]),
        (),
        inputs=tuple([tensors[index].spec for index in inputs]),
        outputs=tuple([tensors[index].spec for index in outputs]),
        window=Window(*to_tuples(row["window"])) if row["window"] else None,
        **{name: row[name] for name in ("macs", "flops", "bytes_read", "bytes_written", "status")},
    )
    return Op(signature, call_of_row[row["layer"]], row["phase"], inputs, outputs)


def _read_measurement(data: Mapping[str, Any], rows: list[Row]) -> Measurement:
    calls = _number_calls(rows)
    keys: dict[tuple[str, int | None], RowKey] = {(f"({one.value})", None): one for one in Outside}
    keys |= {(rows[row]["path"], rows[row]["call"]): call for row, call in calls.items()}
    latencies = tuple(_read_latency(latency, keys) for latency in data["latencies"])
    whole = data["memory_whole"]
    return Measurement(
        ran=_read_ran(data, latencies),
        mode=data["mode"],
        latencies=latencies,
        memory=tuple(MeasuredMemory(keys[path, call], *peaks) for path, call, *peaks in data["memory"]),
        memory_whole=MeasuredMemory(Outside.WHOLE, *whole[2:]) if whole else None,
        warmup_passes=data["warmup_passes"],
        warmup_seconds=data["warmup_seconds"],
        first_call_seconds=data["first_call_seconds"],
        interrupted=data["interrupted"],
        notes=to_tuples(data["notes"]),
    )


def _read_latency(data: Mapping[str, Any], keys: OldKeys) -> Latency:
    def timing(row: list[Any]) -> Timing:
        path, call, rounds = row
        return Timing(keys[path, call], to_tuples(rounds))

    kernels = {f"{path}#{call}": key for (path, call), key in keys.items()}
    return Latency(
        method=data["method"],
        layers=tuple(map(timing, data["layers"])),
        rest=tuple(map(timing, data["rest"])),
        whole=timing(data["whole"]),
        overhead=data["overhead"],
        kernels={kernels[key]: tuple(Kernel(*one) for one in found) for key, found in data["kernels"].items()},
        notes=to_tuples(data["notes"]),
        attributed=data["attributed"],
    )


def _read_ran(data: Mapping[str, Any], latencies: tuple[Latency, ...]) -> Ran:
    """What was written for people then, as data: this is the only place that reads such words."""
    words = dict(data["environment"])
    threads = re.match(r"(\d+)(?: of (\d+))?", words.pop("threads", ""))
    matmul, cudnn = (
        {"on": True, "True": True, "off": False, "False": False}.get(words.pop(name, ""))
        for name in ("tf32 in matrix products", "tf32 in cudnn")
    )
    return Ran(
        device=data["device"],
        device_name=data["device_name"],
        threads=int(threads[1]) if threads else None,
        processors=int(threads[2]) if threads and threads[2] else None,
        tf32_matmul=matmul,
        tf32_cudnn=cudnn,
        compiled=bool(latencies) and (latencies[0].attributed or not latencies[0].layers),
        versions={name: words.pop(name) for name in VERSION_KEYS if name in words},
        details=words,
    )
