"""Files that people save models in, told by what is in them: read as data, and never unpickled with their code."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError, UsageError
from archprof.files import expand_home

PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
SAVED_SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors", ".onnx")
"""Endings of MODEL that name a saved file; `.pt2` is an exported program, and has its own reader."""

MAX_HEADER_BYTES = 100_000_000
"""Of a `.safetensors`, as its own library allows (safetensors/src/tensor.rs)."""

SAFETENSORS_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
"""Its names of dtypes (safetensors/src/tensor.rs), by torch's."""

MALFORMED_HEADER_ERRORS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    RecursionError,
    struct.error,
)
"""What reading a header that is none may raise."""

WEIGHTS_ALONE_NOTE = (
    "Weights alone, each where its name puts it: a file of tensors has no forward, so that only parameters are known. "
    "Floats that are buffers in the model, such as running averages, count among them."
)


class NothingToRun(ArchprofError):
    """Weights have no forward: what is known of them is known without one."""


class StoredWeights(nn.Module):
    """A module tree that holds tensors under their names and does nothing."""

    def forward(self, *_args: Any, **_kwargs: Any) -> None:
        raise NothingToRun("A file of weights has no forward.")


def is_saved_file(spec: str) -> bool:
    """Whether a MODEL names a saved file by its ending."""
    return spec.lower().endswith(SAVED_SUFFIXES)


def is_exported_program(path: str) -> bool:
    """Whether a file is what `torch.export.save` writes, under whatever name."""
    return any(name.endswith(".json") and "/models/" in f"/{name}" for name in _list_members(path))


def load_saved_model(path: str) -> nn.Module:
    """The TorchScript module of a file, or the tensors of one that holds nothing else.

    Raises:
        UsageError: there is no such file, or it holds what is no model of torch or would run code to be read.
    """
    file = expand_home(path)
    if not file.is_file():
        raise UsageError(f"There is no file {path}.", "", "The path is from where you are.")
    if path.lower().endswith(".onnx"):
        raise UsageError(
            f"{path} is an ONNX graph, and archprof traces modules of torch.",
            "",
            "Name the model it was exported from: net.py:Net, or its torch.export.save file (.pt2).",
        )
    if path.lower().endswith(".safetensors"):
        return build_stored_weights(_read_safetensors(path, file))
    if any(name.endswith("/constants.pkl") for name in _list_members(path)):
        return _load_script(path, file)
    return build_stored_weights(_read_pickled_tensors(path, file))


def build_stored_weights(tensors: Mapping[str, torch.Tensor]) -> StoredWeights:
    """A module for each dotted part of the names, with a tensor on meta under each."""
    root = StoredWeights()
    for name, tensor in sorted(tensors.items(), key=lambda item: _split_numbers(item[0])):
        *parts, last = name.split(".")
        module: nn.Module = root
        for part in parts:
            module = module._modules.setdefault(part, StoredWeights())  # type: ignore[assignment]
        if tensor.is_floating_point() or tensor.is_complex():
            module._parameters[last] = nn.Parameter(tensor)
        else:
            module._buffers[last] = tensor
    return root


def _split_numbers(name: str) -> list[tuple[bool, int, str]]:
    """A key that puts layer 2 before layer 10: files have their tensors in an order of their own."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in name.split(".")]


def _list_members(path: str) -> list[str]:
    """The names in a zip archive; none of any other file."""
    file = expand_home(path)
    if not os.path.isfile(file):  # a device may have no end
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


def _load_script(path: str, file: Path) -> nn.Module:
    try:
        loaded: nn.Module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise UsageError(f"{path} looks like TorchScript and cannot be loaded: {error}") from error
    return loaded


def _read_pickled_tensors(path: str, file: Path) -> Mapping[str, torch.Tensor]:
    """The tensors that a checkpoint holds under names, at its top or one level below."""
    try:
        found = torch.load(file, map_location="meta", weights_only=True)
    except Exception as error:  # a class that is not on torch's list, a file cut short
        raise UsageError(
            f"{path} holds more than tensors (a whole module, or settings of a trainer), or is no file of torch.",
            "Its loading would run code that came with it, which archprof does not do.",
            "In Python: profile(torch.load(path, weights_only=False), inputs). Here: the class, net.py:Net.",
        ) from error
    tensors = find_named_tensors(found)
    if tensors is None:
        raise UsageError(
            f"{path} holds a {type(found).__name__}, and no tensors under names.",
            "A state_dict, also one level below, or a TorchScript archive.",
            "A model is named by its class: net.py:Net.",
        )
    return {name: tensor.detach() for name, tensor in tensors.items()}


def find_named_tensors(found: Any) -> Mapping[str, torch.Tensor] | None:
    """The tensors under names in what a file held, at its top or one level below; `None` where there are none."""
    for place in [found, *found.values()] if isinstance(found, dict) else []:
        if isinstance(place, dict) and place and all(isinstance(value, torch.Tensor) for value in place.values()):
            return {str(name): value for name, value in place.items()}
    return None


def _read_safetensors(path: str, file: Path) -> Mapping[str, torch.Tensor]:
    """Shapes and dtypes from the header; the weights are not read."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > min(MAX_HEADER_BYTES, file.stat().st_size - 8):
                raise ValueError("its header is longer than the file")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        return {name: _make_described_tensor(entry) for name, entry in header.items()}
    except (OSError, *MALFORMED_HEADER_ERRORS) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {type(error).__name__}: {error}.") from error


def _make_described_tensor(entry: Mapping[str, Any]) -> torch.Tensor:
    dtype: torch.dtype = getattr(torch, SAFETENSORS_DTYPES[entry["dtype"]])
    return torch.empty([int(size) for size in entry["shape"]], dtype=dtype, device="meta")
