"""The profiles that a command shows: behind a sign of life, and as many as there are when measuring fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archprof import files
from archprof.cli.progress import show_progress, show_waiting
from archprof.errors import ArchprofError, DoesNotFit, UsageError
from archprof.facts.request import AUTO_BATCH, PLAIN_PASS, MeasureRequest, PassRequest
from archprof.measuring.profiles import predict_if_asked
from archprof.tracing.profile import profile_model
from archprof.units import show_quantity

if TYPE_CHECKING:
    from archprof.analysis.tables.sweep import SweepCell
    from archprof.facts.records import Profile

Ended = ArchprofError | KeyboardInterrupt | None
"""How a command ends once its answer is written: as what kept some profiles from being measured asks for."""


def profile_each(
    models: Iterable[str], inputs: list[str] | None, request: PassRequest, how: MeasureRequest | None,
    device: str | None = None,
) -> tuple[list[Profile], Ended]:  # fmt: skip
    """The profile of each MODEL, measured if so asked and possible, and predicted on a device; a saved one is read.

    Where measuring is not possible, the counted profiles are there, with the error; after Ctrl-C, the rest is counted.
    """
    profiles: list[Profile] = []
    ended: Ended = None
    for model in models:
        if files.is_profile_path(model):
            profile, end = profile_one(model, None, PLAIN_PASS, None, device)
        else:
            profile, end = profile_one(model, inputs, request, None if ended else how, device)
        profiles.append(profile)
        ended = ended or end
    return profiles, ended


def profile_one(
    model: str, inputs: list[str] | None, request: PassRequest, how: MeasureRequest | None, device: str | None = None
) -> tuple[Profile, Ended]:
    """The profile of one MODEL, and how the command ends for it."""
    try:
        profile = count_model(model, inputs, request) if how is None else measure_model(model, inputs, request, how)
        return predict_if_asked(profile, device, how), None if how is None else find_interruption(profile)
    except UsageError:
        raise
    except ArchprofError as problem:
        if how is None:
            raise
        counted = count_model(model, inputs, request)
        return predict_if_asked(counted, device, how), problem  # raises what is wrong with the model itself


def find_interruption(profile: Profile | None) -> KeyboardInterrupt | None:
    """Whether Ctrl-C ended its measurement."""
    interrupted = profile is not None and profile.measurement is not None and profile.measurement.interrupted
    return KeyboardInterrupt() if interrupted else None


def end_with(ended: Ended) -> None:
    """Raise what the command ends with, if there is something."""
    if ended is not None:
        raise ended


def count_model(model: str, inputs: list[str] | None, request: PassRequest) -> Profile:
    with show_waiting(f"{'Reading' if files.is_profile_path(model) else 'Tracing'} {model}"):
        return profile_model(model, inputs or None, request)


def measure_model(model: str, inputs: list[str] | None, request: PassRequest, how: MeasureRequest) -> Profile:
    """The model traced and measured, behind a bar with the time left."""
    with show_progress(_say_what_is_measured(model, how)) as tell:
        from archprof.measuring import run

        return run.measure_model(model, inputs or None, request, how, tell)


def _say_what_is_measured(model: str, how: MeasureRequest) -> str:
    """With the memory that the search for a batch keeps within, where the machine itself has it."""
    if not how.largest_batch:
        return f"Measuring {model}"
    from archprof.torchside.free_memory import read_usable_bytes

    usable = read_usable_bytes() if how.device == "cpu" else None
    room = "" if usable is None else f" in {show_quantity(usable, 'bytes')}"
    return f"Measuring {model} at the largest batch that fits{room}"


def vary(
    request: PassRequest, how: MeasureRequest | None, batch: int | str, dtype: str | None
) -> tuple[PassRequest, MeasureRequest | None]:
    """What was asked for at another batch size, or `AUTO_BATCH`, and in another dtype."""
    size = batch if isinstance(batch, int) else 1
    return replace(request, batch=size, dtype=dtype), how and replace(how, largest_batch=batch == AUTO_BATCH)


def measure_sweep(
    model: str, inputs: list[str] | None, grid: Iterable[tuple[PassRequest, MeasureRequest | None]]
) -> Iterator[SweepCell]:
    """Measure each cell of a grid; what does not fit is an answer, and Ctrl-C ends the sweep."""
    from archprof.analysis.tables.sweep import SweepCell

    for request, how in grid:
        assert how is not None
        batch = AUTO_BATCH if how.largest_batch else request.batch
        try:
            profile = measure_model(model, inputs, request, how)
        except DoesNotFit as error:
            yield SweepCell(batch, request.dtype, None, error.given.rstrip("."))
            continue
        yield SweepCell(batch, request.dtype, profile)
        if find_interruption(profile):
            return
