"""What training told us: losses and accuracies by epoch, gradients at a few of them, and the first filters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from archprof import files
from archprof.errors import ArchprofError, UsageError
from archprof.facts import fits
from archprof.facts.ran import Ran
from archprof.facts.store_tables import read_ran, read_table, take_fields, to_tuples, write_ran, write_table

RUN_SCHEMA = 1

LARGEST_FILE_BYTES = 2**28
"""Of the facts of a run, which has some 2**10 for each net and epoch."""


class Epoch(NamedTuple):
    """One pass over the data.

    Attributes:
        number: 1 is the first; 0 is what was known before it, where nothing was learned.
        loss: the mean over the samples, while they were learned; `None` where it was not finite, and in epoch 0.
        accuracy: the share of them that was right then; `None` without classes.
        held_out_loss, held_out_accuracy: at the end of the epoch, of what is only asked; `None` without such samples.
        seconds: that learning took.
    """

    number: int
    loss: float | None
    accuracy: float | None
    held_out_loss: float | None
    held_out_accuracy: float | None
    seconds: float


class FlowPoint(NamedTuple):
    """One weight at one moment: the norms of its gradient and of itself; `None` where one is not finite."""

    name: str
    gradient: float | None
    weight: float | None


class Flow(NamedTuple):
    """The gradients of the same batch after an epoch, in the order of the layers; the spread behind each call."""

    epoch: int
    gradients: tuple[FlowPoint, ...]
    spread: tuple[tuple[str, float], ...]


class Filters(NamedTuple):
    """The first convolution's filters as (filter, channel, row, column), before and after: at most 64 of them."""

    name: str
    before: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]
    after: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]


@dataclass(frozen=True)
class TrainedModel:
    """One net of a run.

    Attributes:
        name: as it was asked for.
        params: parameters, each tensor once.
        weights: the file in the folder with the weights of the last whole epoch.
        epochs: in order.
        flows: after epochs 0, 1 and the last.
        filters: of the first convolution; `None` without one.
    """

    name: str
    params: int
    weights: str
    epochs: tuple[Epoch, ...] = ()
    flows: tuple[Flow, ...] = ()
    filters: Filters | None = None


@dataclass(frozen=True)
class TrainingRun:
    """Several nets, learned side by side by one recipe.

    Attributes:
        data, recipe, optimizer, batch, seed: what was asked.
        epochs: how many were asked for.
        ran: on what.
        models: in the order in which they were named.
        stopped: Ctrl-C ended it before all epochs were done; the files with the weights of that moment, by model.
        notes: what the reader must know.
    """

    data: str
    recipe: str
    optimizer: str
    batch: int
    seed: int
    epochs: int
    ran: Ran
    models: tuple[TrainedModel, ...]
    stopped: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    def list_settings(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        keys = ("data", "recipe", "optimizer", "batch", "seed", "notes")  # the notes say how large images were made
        return {**{key: getattr(self, key) for key in keys}, "models": [model.name for model in self.models]}

    def save(self, folder: Path) -> None:
        """Write the facts of the run into its folder, whole or not at all."""
        data = take_fields(self) | {
            "schema": RUN_SCHEMA,
            "ran": write_ran(self.ran),
            "models": [write_model(one) for one in self.models],
        }
        files.write_whole(folder / files.RUN_FILE, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_model(model: TrainedModel) -> dict[str, Any]:
    """The facts of one net, as JSON has them."""
    return {
        **take_fields(model),
        "epochs": write_table(Epoch, model.epochs),
        "flows": [flow._asdict() for flow in model.flows],
        "filters": model.filters._asdict() if model.filters else None,
    }


def read_model(data: Mapping[str, Any]) -> TrainedModel:
    """What `write_model` wrote."""
    read = {
        "epochs": tuple(read_table(Epoch, data["epochs"])),
        "flows": tuple(_read_flow(flow) for flow in data["flows"]),
        "filters": Filters(*map(to_tuples, data["filters"].values())) if data["filters"] else None,
    }
    return TrainedModel(**{**data, **read})


def _read_flow(data: Mapping[str, Any]) -> Flow:
    points = tuple(FlowPoint(*point) for point in data["gradients"])
    return Flow(data["epoch"], points, to_tuples(data["spread"]))


def load_run(folder: str | Path) -> TrainingRun:
    """Read the facts of a run, without torch.

    Raises:
        UsageError: the folder holds none.
        ArchprofError: it cannot be read.
    """
    path = Path(folder) / files.RUN_FILE
    if not path.is_file():
        raise UsageError(f"{folder} holds no run.", f"A folder that archprof train wrote, with its {files.RUN_FILE}.")
    try:
        data = json.loads(files.read_text(path, LARGEST_FILE_BYTES))
        if data.pop("schema") > RUN_SCHEMA:
            raise ArchprofError(f"{path} was written by a newer archprof.", "", "Install a newer archprof.")
        read = {
            "ran": read_ran(data["ran"]),
            "models": tuple(map(read_model, data["models"])),
            "notes": tuple(data["notes"]),
        }
        run = TrainingRun(**{**data, **read})
        fits.check_record(run)
        for model in run.models:
            check_filters(model)
        return run
    except fits.Misfit as misfit:
        raise ArchprofError(f"{path} is no run of training: {misfit}.") from misfit
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ArchprofError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error


def check_filters(model: TrainedModel) -> None:
    """Raise `Misfit` for filters of several sizes, or of none: a picture has one."""
    if model.filters is not None:
        sizes = {_find_size(one) for one in (*model.filters.before, *model.filters.after)}
        if len(sizes) != 1 or None in sizes or len(model.filters.before) != len(model.filters.after):
            raise fits.Misfit("of filters of several sizes", f"the picture of {model.name}")


def _find_size(one: Sequence[Sequence[Sequence[float]]]) -> tuple[int, int, int] | None:
    """Channels, height and width of a filter; `None` where its channels differ, or it has nothing."""
    sizes = {(len(rows), len(row)) for rows in one for row in rows or ((),)}
    high, wide = next(iter(sizes), (0, 0))
    return (len(one), high, wide) if len(sizes) == 1 and high and wide else None
