"""Measuring as the commands do it: where, at which batch sizes and dtypes, and what is still shown when it fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import archprof
from archprof import files
from archprof.cli.progress import show_progress, show_waiting
from archprof.errors import ArchprofError, DoesNotFit, UsageError

if TYPE_CHECKING:
    from archprof.analysis.tables.sweep import SweepCell
    from archprof.facts.records import Profile

DEVICE_NAMES = ("cpu", "cuda")


@dataclass(frozen=True)
class DeviceOptions:
    """Where and how to measure; `device` is `None` to count alone."""

    device: str | None = None
    channels_last: bool = False
    compiled: bool = False


def read_device_options(measure: str | None, cuda: bool, channels_last: bool, compile: bool) -> DeviceOptions:
    """What the options say.

    Raises:
        UsageError: they contradict each other, or ask how to measure and not where.
    """
    if measure is not None and measure not in DEVICE_NAMES:
        raise UsageError(f"Nothing can be measured on {measure!r}.", f"Allowed: {', '.join(DEVICE_NAMES)}.")
    if cuda and measure == "cpu":
        raise UsageError("--cuda and --measure cpu contradict each other.", "One device at a time.")
    device = "cuda" if cuda else measure
    asked = [name for name, on in (("--channels-last", channels_last), ("--compile", compile)) if on]
    if asked and device is None:
        raise UsageError(f"{', '.join(asked)} says how to measure, but not where.", "Add --measure cpu or --cuda.")
    return DeviceOptions(device, channels_last, compile)


@dataclass
class ProfilesOrError:
    """One profile a model, and the error that kept the rest of them, or some, from being measured."""

    profiles: list[Profile]
    problem: ArchprofError | None = None

    def raise_problem(self) -> None:
        """After the profiles were shown: end as what happened asks for."""
        if self.problem is not None:
            raise self.problem
        if any(was_interrupted(profile) for profile in self.profiles):
            raise KeyboardInterrupt


def was_interrupted(profile: Profile | None) -> bool:
    """Ctrl-C ended its measurement."""
    return profile is not None and profile.measurement is not None and profile.measurement.interrupted


def profile_each(
    models: Iterable[str], inputs: list[str] | None, how: DeviceOptions, **options: Any
) -> ProfilesOrError:
    """The profile of each MODEL, measured if so asked; inputs and options are for those that are not saved already.

    Where measuring is not possible, the counted profiles are there, with the error; after Ctrl-C, the rest is counted.
    """
    answer = ProfilesOrError([])
    for model in models:
        if files.is_profile_path(model):
            answer.profiles.append(count_model(model, None))
            continue
        ended = answer.problem is not None or any(map(was_interrupted, answer.profiles))
        one = measure_or_count(model, inputs, DeviceOptions() if ended else how, **options)
        answer.profiles += one.profiles
        answer.problem = answer.problem or one.problem
    return answer


def measure_or_count(model: str, inputs: list[str] | None, how: DeviceOptions, **options: Any) -> ProfilesOrError:
    """The profile of one MODEL, measured if so asked and possible."""
    if how.device is None:
        return ProfilesOrError([count_model(model, inputs, **options)])
    try:
        return ProfilesOrError([measure_model(model, inputs, how, **options)])
    except UsageError:
        raise
    except ArchprofError as problem:
        alone = options | {"batch": 1} if options["batch"] == "auto" else options
        return ProfilesOrError(
            [count_model(model, inputs, **alone)], problem
        )  # raises what is wrong with the model itself


def count_model(model: str, inputs: list[str] | None, **options: Any) -> Profile:
    with show_waiting(f"{'Reading' if files.is_profile_path(model) else 'Tracing'} {model}"):
        return archprof.profile(model, inputs or None, **options)


def measure_model(model: str, inputs: list[str] | None, how: DeviceOptions, **options: Any) -> Profile:
    """The model traced and measured, behind a bar with the time left.

    Raises:
        UsageError: lengths or a phase were asked for, which are counted and not measured.
    """
    if counted := [f"--{name}" for name in ("set", "phase", "context") if name in options]:
        raise UsageError(f"{', '.join(counted)} cannot be measured.", "Settings and phases of hf: models are counted.")
    assert how.device is not None
    with show_progress(f"Measuring {model}") as tell:
        return archprof.measure(
            model, inputs or None, device=how.device, channels_last=how.channels_last, compile=how.compiled,
            progress=tell, **options,
        )  # fmt: skip


def parse_batches(text: str) -> list[int | str]:
    """The batch sizes in words such as "8", "1,8,64" or "auto".

    Raises:
        UsageError: one of them is no whole number, and not "auto".
    """
    words = [word.strip() for word in text.split(",")]
    if any(word != "auto" and not word.removeprefix("-").isdecimal() for word in words):
        raise UsageError(f"{text!r} is no batch size.", "A number such as 8, several such as 1,8,64, or auto.")
    return [word if word == "auto" else int(word) for word in words]


def parse_dtypes(text: str | None) -> list[str | None]:
    """The dtypes in words such as "float32,bfloat16"; the model's own for `None`."""
    return [None] if text is None else [word.strip() for word in text.split(",")]


def measure_sweep(
    model: str,
    inputs: list[str] | None,
    how: DeviceOptions,
    sizes: list[int | str],
    kinds: list[str | None],
    **options: Any,
) -> Iterator[SweepCell]:
    """Measure each batch size in each dtype; what does not fit is an answer, and Ctrl-C ends the sweep."""
    from archprof.analysis.tables.sweep import SweepCell

    for dtype, batch in product(kinds, sizes):
        try:
            profile = measure_model(model, inputs, how, batch=batch, dtype=dtype, **options)
        except DoesNotFit as error:
            yield SweepCell(batch, dtype, None, error.given.rstrip("."))
            continue
        yield SweepCell(batch, dtype, profile)
        if was_interrupted(profile):
            return
