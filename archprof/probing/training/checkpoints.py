"""A net in the middle of its training as one file: weights, the state of the optimizer, and what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.facts import fits
from archprof.facts.trained import TrainedModel, check_filters, read_model, write_model
from archprof.probing.tensor_files import read_tensors, write_tensors
from archprof.probing.weights import MODEL_PREFIX, OPTIMIZER_PREFIX

RECORD = "archprof"
"""The text of the file that holds the record; one file holds all, so that none is newer than another after a kill."""


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, record: TrainedModel) -> None:
    """Write weights, state and record, whole or not at all."""
    tensors = {f"{MODEL_PREFIX}{name}": each for name, each in model.state_dict().items()}
    plain: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            place = f"{OPTIMIZER_PREFIX}{index}.{key}"
            if isinstance(value, torch.Tensor):
                tensors[place] = value
            else:
                plain[place] = value
    text = json.dumps({"record": write_model(record), "plain": plain}, allow_nan=False)
    write_tensors(path, tensors, {RECORD: text})


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainedModel:
    """Put a net and its optimizer back where they were; what was recorded until then.

    Raises:
        ArchprofError: the file is none of this net.
    """
    tensors, texts = read_tensors(path)
    try:
        told = json.loads(texts[RECORD])
        model.load_state_dict(_under(tensors, MODEL_PREFIX))
        state: dict[int, dict[str, Any]] = {}
        for place, value in {**_under(tensors, OPTIMIZER_PREFIX), **_under(told["plain"], OPTIMIZER_PREFIX)}.items():
            index, _, key = place.partition(".")
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        record = read_model(told["record"])
        fits.check_record(record)
        check_filters(record)
        return record
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ArchprofError(f"{path} is no checkpoint of this net: {error}.") from error


def _under(found: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
