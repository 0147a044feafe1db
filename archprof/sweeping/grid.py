"""From what is asked to cells: models x settings x devices, each once, held against what can be run."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archprof.errors import UsageError
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.facts.swept import Cell
from archprof.files import hash_file
from archprof.predicting.runs import ALL_DEVICES, choose_devices, choose_one_device, validate_device
from archprof.sources.inputs import normalise_inputs
from archprof.sources.optimizer_grammar import parse_optimizer
from archprof.sources.source_identity import PACKAGES, identify_source
from archprof.sources.zoo_patterns import expand_models
from archprof.sweeping.supervisor import Task
from archprof.sweeping.versions import read_versions


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep is asked.

    Attributes:
        models: names and patterns over the zoos.
        batches, dtypes: each at each; a dtype of `None` is the model's own.
        devices: names of the catalogue, on which times are predicted.
        measure: where each is run, "cpu" or "cuda"; `None`: nowhere.
        limit: seconds for each cell; `None`: any.
        others: as in `PassRequest` and `MeasureRequest`.
    """

    models: Sequence[str]
    inputs: tuple[str, ...] = ()
    batches: Sequence[int] = (1,)
    dtypes: Sequence[str | None] = (None,)
    train: bool = False
    optimizer: str | None = None
    amp: str | None = None
    lengths: Mapping[str, int] | None = None
    devices: str | Sequence[str] | None = None
    measure: str | None = None
    channels_last: bool = False
    compiled: bool = False
    limit: float | None = None

    def check(self) -> None:
        """Raise `UsageError` on the first value that no cell can have."""
        if not self.models:
            raise UsageError("There is no model to sweep.", "One or more names, or patterns such as 'timm:convnext*'.")
        if not self.batches or not self.dtypes:
            raise UsageError("There is no batch or no dtype to sweep.", "One or more of each.")
        for batch in self.batches:
            for dtype in self.dtypes:
                PassRequest(
                    batch, dtype, self.train, lengths=self.lengths, optimizer=self.optimizer, amp=self.amp
                ).check()
        if self.measure is not None:
            MeasureRequest(self.measure)
            if self.lengths:
                raise UsageError("--set cannot be measured.", "Settings of hf: models are counted.")
        elif (self.channels_last or self.compiled) and self.devices is None:
            raise UsageError("How to run is said, and not where.", "Add --measure cpu, or --device t4.")
        if self.limit is not None and not 0 < self.limit <= threading.TIMEOUT_MAX:
            allowed = f"More than 0 seconds, up to {threading.TIMEOUT_MAX:.0e}."
            raise UsageError(f"A cell cannot take {self.limit:g} s at most.", allowed)
        self._check_words()

    def _check_words(self) -> None:
        """What is read only where a model is opened, for all cells at once."""
        if not all(isinstance(word, str) for word in self.inputs):
            raise UsageError("A sweep asks other processes, so that inputs are words.", 'Such as "3x224x224".')
        if self.inputs:
            normalise_inputs(list(self.inputs))
        if self.optimizer is not None:
            parse_optimizer(self.optimizer)


class Sweep(NamedTuple):
    """The cells as tasks by their keys, and how many were asked more than once."""

    tasks: dict[str, Task]
    repeated: int


def build_sweep(request: SweepRequest) -> Sweep:
    """The tasks of a request, the settings of a model beside each other.

    Raises:
        UsageError: a name, a pattern, a setting or a device is none.
    """
    request.check()
    devices = _list_devices(request.devices)
    models = expand_models(request.models)
    cells = [
        Cell(
            model, request.inputs, batch, dtype, request.train, request.optimizer, request.amp,
            tuple(sorted((request.lengths or {}).items())), device, request.measure or "", request.channels_last,
            request.compiled,
        )
        for model in models for dtype in request.dtypes for batch in request.batches for device in devices
    ]  # fmt: skip
    versions = read_versions()
    sources = {model: identify_source(model) for model in models}
    calibrated = {device: _identify_device(device) for device in devices}
    packages = tuple(name for name in PACKAGES.values() if any(one.startswith(f"{name} ") for one in sources.values()))
    tasks: dict[str, Task] = {}
    for cell in cells:
        made_by = {"archprof": versions["archprof"], "torch": versions["torch"], "source": sources[cell.model]}
        key = cell.make_key(made_by | calibrated[cell.device])
        tasks.setdefault(key, Task(cell, key, made_by, request.limit, os.getcwd(), versions, packages))
    return Sweep(tasks, len(cells) - len(tasks))


def _list_devices(asked: str | Sequence[str] | None) -> list[str]:
    """The names that are predicted on, whatever is wrong with them raised before any work; [""] without any."""
    if asked is None:
        return [""]
    words = [word.strip() for word in asked.split(",")] if isinstance(asked, str) else [*asked]
    if words == [ALL_DEVICES]:
        return [one.device.name for one in choose_devices(ALL_DEVICES)]
    for word in words:
        validate_device(word)
    found = [word if word.endswith(".json") else choose_one_device(word).device.name for word in words]
    return list(dict.fromkeys(found))


def _identify_device(name: str) -> dict[str, str]:
    """A file of `archprof calibrate` is what it holds."""
    return {"device": hash_file(name).hexdigest()} if name.endswith(".json") else {}
