"""A tensor saved in a file, read as data: nothing in it is run."""

from __future__ import annotations

from typing import Any

import torch

from archprof.errors import UsageError


def read_tensor_file(path: str) -> torch.Tensor:
    """The one tensor of a `.npy` or `.pt`; its values are read when they are used.

    Raises:
        UsageError: the file cannot be read as data, or holds anything but one tensor.
    """
    read = _read_npy if path.endswith(".npy") else _read_pt
    try:
        found = read(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}.", "", "The path is from where you are."
        ) from error
    except Exception as error:  # what numpy and torch raise for what is no data is of many classes
        raise UsageError(
            f"{path} holds no tensor that can be read as data: {type(error).__name__}.",
            "A .npy of numbers, or a .pt with one tensor.",
            "numpy.save('x.npy', array) and torch.save(tensor, 'x.pt') write them.",
        ) from error
    if not isinstance(found, torch.Tensor) or found.layout is not torch.strided or found.is_meta:
        raise UsageError(
            f"{path} holds {_describe_content(found)}, not one tensor with values.",
            "A file for each input.",
            "In Python, several can be given as they are: profile(model, torch.load(path)).",
        )
    return found.detach().contiguous()


def _describe_content(found: Any) -> str:
    if isinstance(found, torch.Tensor):
        return "a tensor on meta" if found.is_meta else "a sparse tensor"
    kind = type(found).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind} of {len(found)}" if isinstance(found, dict | list | tuple) else f"{article} {kind}"


def _read_npy(path: str) -> Any:
    import numpy

    try:
        array = numpy.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:  # nothing to map, as for an array of no dimensions in some releases
        array = numpy.load(path, allow_pickle=False)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _read_pt(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # a file of the older form cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)
