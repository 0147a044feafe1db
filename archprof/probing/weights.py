"""Weights from a file: safetensors, or a pickle that torch reads without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from archprof.errors import UsageError
from archprof.files import expand_home
from archprof.probing.tensor_files import read_tensors
from archprof.sources.saved_files import PICKLE_SUFFIXES, find_named_tensors
from archprof.wording import name_few, show_shape

WEIGHT_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)

MODEL_PREFIX, OPTIMIZER_PREFIX = "model.", "optimizer."
"""Under which a checkpoint of training has the weights of the model, and the optimizer's state."""


def load_weights(model: nn.Module, path: str) -> None:
    """Put the weights of a file in the place of a model's own.

    Raises:
        UsageError: there is no such file, or its names or shapes are not those of the model.
        ArchprofError: it cannot be read.
    """
    tensors = read_weights(path)
    own = model.state_dict()
    if missing := [name for name in own if name not in tensors]:
        raise UsageError(f"{path} has no {name_few(missing)}, which the model has.", "The state_dict of the model.")
    if strange := [name for name in tensors if name not in own]:
        raise UsageError(f"{path} has {name_few(strange)}, which the model has not.", "The state_dict of the model.")
    if other := [name for name in own if own[name].shape != tensors[name].shape]:
        read, held = (show_shape(each[other[0]].shape) for each in (tensors, own))
        raise UsageError(f"{other[0]} is {read} in {path} and {held} in the model.", "The same shapes.")
    model.load_state_dict(dict(tensors))


def read_weights(path: str) -> Mapping[str, torch.Tensor]:
    """The tensors of a file by name; of a checkpoint of training, those of the model."""
    file = expand_home(path)
    if file.suffix.lower() not in WEIGHT_SUFFIXES:
        raise UsageError(f"{path} is no file of weights.", f"Endings: {', '.join(WEIGHT_SUFFIXES)}.")
    if not file.is_file():
        raise UsageError(f"There is no file {path}.", "", "The path is from where you are.")
    is_pickle = file.suffix.lower() in PICKLE_SUFFIXES
    tensors = _read_pickle(path, file) if is_pickle else read_tensors(file)[0]
    of_model = {
        name.removeprefix(MODEL_PREFIX): each for name, each in tensors.items() if name.startswith(MODEL_PREFIX)
    }
    is_checkpoint = of_model and all(name.startswith((MODEL_PREFIX, OPTIMIZER_PREFIX)) for name in tensors)
    return of_model if is_checkpoint else tensors


def _read_pickle(path: str, file: Path) -> Mapping[str, torch.Tensor]:
    """The tensors at the top of a checkpoint, or one level below."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(
            f"{path} holds more than tensors, or is no file of torch.", "A state_dict, also one level below."
        ) from error
    tensors = find_named_tensors(found)
    if tensors is None:
        raise UsageError(f"{path} holds no tensors under names.", "A state_dict, also one level below.")
    return tensors
