"""A run of training: a row for each net, from before the first epoch to the last."""

from __future__ import annotations

from archprof.analysis.table import Column, Row, Table, Value
from archprof.facts.trained import Flow, TrainedModel, TrainingRun

COLUMNS = (
    Column("model", "Model", "path", "its name", 0),
    Column("params", "Params", "count", "parameters", 6),
    Column("epochs", "Epochs", "count", "that were learned", 3),
    Column("loss", "Loss", "number", "mean over the samples of the last epoch, while they were learned", 2),
    Column("accuracy", "Accuracy", "share", "of the last epoch, while it was learned", 4),
    Column("held_out", "Held out", "share", "accuracy on what was not learned, after the last epoch", 1),
    Column("best", "Best", "share", "the best of these over the epochs", 5),
    Column("first_before", "g/w before", "number", "gradient by weight of the first weight, before training", 7),
    Column("first_after", "g/w after", "number", "the same after the last epoch", 8),
    Column("seconds", "Time", "duration", "that learning took", 9),
)


STOPPED_NOTE = "Stopped before all epochs were done; the weights of that moment are kept beside."


def tabulate_run(run: TrainingRun) -> Table:
    """How far each net came."""
    title = f"{', '.join(dict.fromkeys(model.name for model in run.models))} on {run.data}"
    return Table(title, COLUMNS, tuple(Row(_cells(model)) for model in run.models), notes=describe_run(run))


def _cells(model: TrainedModel) -> tuple[Value, ...]:
    last = model.epochs[-1] if model.epochs else None
    held = [epoch.held_out_accuracy for epoch in model.epochs if epoch.held_out_accuracy is not None]
    return (
        model.name,
        model.params,
        last.number if last else 0,
        last.loss if last else None,
        last.accuracy if last else None,
        last.held_out_accuracy if last else None,
        max(held, default=None),
        first_of_weight(model.flows[0]) if model.flows else None,
        first_of_weight(model.flows[-1]) if model.flows else None,
        sum(epoch.seconds for epoch in model.epochs),
    )


def first_of_weight(flow: Flow) -> float | None:
    """The gradient of the first weight by the weight."""
    point = flow.gradients[0] if flow.gradients else None
    return point.gradient / point.weight if point and point.gradient is not None and point.weight else None


def describe_run(run: TrainingRun) -> tuple[str, ...]:
    """How it was trained, and what must be known."""
    amp = f", autocast to {run.ran.autocast}" if run.ran.autocast else ""
    threads = f" of {run.ran.threads} threads" if run.ran.threads else ""
    asked = (
        f"Recipe {run.recipe}: {run.optimizer}, batch {run.batch}, {run.epochs} epochs, seed {run.seed}, "
        f"on the {run.ran.device}{threads}{amp}."
    )
    stopped = (STOPPED_NOTE,) if run.stopped else ()
    return (asked, *stopped, *run.notes)
