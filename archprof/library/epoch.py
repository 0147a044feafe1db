"""How long an epoch takes: as many measured training steps as it has batches."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from archprof.analysis import elapsed
from archprof.analysis.table import Column, Row, Table, Value
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.library.comparing import list_several

COLUMNS = (
    Column("model", "Model", "path", "what was trained", 0),
    Column("device", "Device", "text", "where the step was measured", 0),
    Column("batch", "Batch", "count", "images in a step", 2),
    Column("dtype", "Dtype", "text", "of the pass", 5),
    Column("step", "Step", "seconds", "forward, backward and optimizer step: the median over rounds", 1),
    Column("rate", "Images/s", "count", "batch size by the time of a step", 4),
    Column("steps", "Steps", "count", "batches in an epoch; the last may be smaller and counts as one", 3),
    Column("epoch", "Epoch", "duration", "steps x the time of one", 0, "epoch"),
    Column("low", "Low", "duration", "steps x the least of the rounds", 1, "epoch"),
    Column("high", "High", "duration", "steps x the greatest of the rounds", 1, "epoch"),
)
"""A row per model and device."""

LEFT_OUT_NOTE = "Loading data, validation and checkpoints are not in it."


def epoch(
    models: Any, images: int, *, batch: int = 64, inputs: Any = None, dtype: str | None = None,
    measure: str = "cpu", channels_last: bool = False, compile: bool = False, amp: str | None = None,
) -> Table:  # fmt: skip
    """How long an epoch of so many `images` takes, from a measured training step; a row for each model.

    `models` are profiles of measured training steps, or what `profile` takes; the rest is as for `table`. `UsageError`
    where there are no images, or a profile is of no measured training step.
    """
    from archprof.measuring.profiles import profile_several

    count_steps(images, batch)
    how = MeasureRequest(measure, channels_last, compile)
    request = PassRequest(batch, dtype, train=True, amp=amp)
    return tabulate_epochs(profile_several(list_several(models), inputs, request, how), images)


def tabulate_epochs(profiles: Sequence[Profile], images: int) -> Table:
    """One row for each measured training step.

    Args:
        profiles: measured in train mode.
        images: in an epoch.

    Raises:
        UsageError: a profile is of no measured training step, or there are no images.
    """
    notes = [line for profile in profiles for line in (*_last(profile, images), *elapsed.describe_method(profile))]
    return Table(
        title=f"An epoch of {images:,} images",
        columns=COLUMNS,
        rows=tuple(_row(profile, images) for profile in profiles),
        notes=tuple(dict.fromkeys([*notes, LEFT_OUT_NOTE])),
    )


def count_steps(images: int, batch: int) -> int:
    """Batches in an epoch: 50,000 images at 64 are 782.

    Raises:
        UsageError: there are no images, or none in a batch.
    """
    if images < 1 or batch < 1:
        raise UsageError(f"An epoch of {images} images in batches of {batch} was asked for.", "Both are 1 or more.")
    return ceil(images / batch)


def _row(profile: Profile, images: int) -> Row:
    measurement, time = profile.measurement, elapsed.find_model_time(profile)
    if measurement is None or not time or measurement.mode != "train":
        raise UsageError(
            f"{profile.model} holds no measured training step.",
            "An epoch follows from one: forward, backward and optimizer step.",
            "Measure it: archprof table MODEL --train --measure cpu -o step.json",
        )
    often, device = count_steps(images, profile.batch), measurement.device_title
    cells: tuple[Value, ...] = (
        profile.model, device, profile.batch, profile.dtype_words, time.seconds, profile.batch / time.seconds,
        often, often * time.seconds, often * time.low, often * time.high,
    )  # fmt: skip
    within = {"step": time.half_interval, "rate": profile.batch / time.seconds * time.half_interval / time.seconds}
    within |= dict.fromkeys(("epoch", "low", "high"), often * time.half_interval)
    return Row(cells, half_intervals={key: value for key, value in within.items() if value})


def _last(profile: Profile, images: int) -> list[str]:
    """What is said of a last batch that is not full."""
    rest = images % profile.batch
    return [f"The last of the steps has {rest} images of {profile.batch}, and counts as a whole one."] if rest else []
