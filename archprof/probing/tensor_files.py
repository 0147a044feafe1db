"""Tensors in files of safetensors: read and written as data, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from archprof.errors import ArchprofError, UsageError
from archprof.files import expand_home, replace_file


def import_safetensors() -> Any:
    """The library's part for torch.

    Raises:
        ArchprofError: it is not installed.
    """
    try:
        import safetensors.torch
    except ImportError as error:
        raise ArchprofError(
            "Weights are kept as safetensors, which is not installed.", "", "Try: pip install 'archprof[probe]'"
        ) from error
    return safetensors


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file by name, and its texts.

    Raises:
        UsageError: it cannot be read.
    """
    library = import_safetensors()
    try:
        with library.safe_open(str(expand_home(path)), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # its own class, and those of the operating system
        raise UsageError(f"{path} cannot be read as safetensors: {error}.") from error


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> None:
    """Write a new file beside `path` and put it in its place in one step."""
    library = import_safetensors()
    packed = library.torch.save(
        {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}, metadata=dict(texts)
    )
    replace_file(path, packed, survives_crash=True)
