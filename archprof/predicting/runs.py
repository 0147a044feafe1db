"""A pass as it would run on a device that a user names: the device, how it runs, and the prediction laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from archprof.errors import UsageError
from archprof.facts import store
from archprof.facts.predicted import LatencyPrediction
from archprof.facts.records import Profile
from archprof.predicting.devices import Device, find_devices_called, load_catalogue, resolve_device
from archprof.predicting.latency import predict_latency
from archprof.predicting.latency.rates import find_rates
from archprof.predicting.size_limits import find_refusal, say_refusal
from archprof.wording import split_words

ALL_DEVICES = "all"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """How a pass is taken to run on a device: see `archprof.predicting.latency.predict_latency`.

    Attributes:
        captured: in a CUDA graph, and not launched op by op.
        compiled, channels_last: as they are called there.
        tf32: all products in float32 are rounded to TF32, or none are; `None`: as torch does it.
        measured: paths of saved profiles with measurements, which correct what is predicted on their device.
    """

    captured: bool = False
    compiled: bool = False
    channels_last: bool = False
    tf32: bool | None = None
    measured: tuple[str, ...] = ()


class ChosenDevice(NamedTuple):
    """A device, and what must be said of the name that it was asked for by."""

    device: Device
    note: str = ""


def choose_devices(names: str | Sequence[str]) -> list[ChosenDevice]:
    """The devices that a list names: "t4,l4,4090", ["a100", "calibrated.json"]; "all": every GPU of the catalogue.

    Raises:
        UsageError: a name is no device's, or that of several chips.
    """
    if names == ALL_DEVICES:
        return [ChosenDevice(device) for device in load_catalogue() if device.kind == "gpu"]
    words = split_words(names) if isinstance(names, str) else names
    chosen = [choose_device(word) for word in words]
    return [one for place, one in enumerate(chosen) if one.device not in [other.device for other in chosen[:place]]]


def choose_device(name: str) -> ChosenDevice:
    """The device of a name; where several boards of one chip have it, that of servers with the least memory.

    Raises:
        UsageError: as `choose_devices`.
    """
    if name.endswith(".json"):
        return ChosenDevice(resolve_device(name))
    found = find_devices_called(name)
    if len(found) == 1:
        return ChosenDevice(found[0])
    if len({_chip_of(device) for device in found}) > 1:
        return ChosenDevice(resolve_device(name))  # which raises, and names them
    modules = [device for device in found if "SXM" in device.name] or found
    device = min(modules, key=lambda one: one.figures["mem_gb"].value)
    others = ", ".join(other.name for other in found if other is not device)
    return ChosenDevice(device, f"{name!r} is taken to be the {device.name}; also called so: {others}.")


def _chip_of(device: Device) -> tuple[float | None, ...]:
    """What boards of one chip have in common: multiprocessors and arithmetic."""
    known = (device.figures.get(name) for name in ("sm", "fp32", "fp16_dense"))
    return tuple(None if figure is None else figure.value for figure in known)


def predict_pass(profile: Profile, device: Device, how: RunRequest | None = None) -> LatencyPrediction:
    """What a pass should take on a device.

    Raises:
        UsageError: the device does not say enough, or a saved profile is no measurement.
    """
    how = how or RunRequest()
    found = predict_latency(
        profile, device, eager=not how.captured, compiled=how.compiled, channels_last=how.channels_last,
        tf32=None if how.tf32 is None else (how.tf32, how.tf32), measured=load_measured(how.measured),
    )  # fmt: skip
    refusal = None if how.compiled else find_refusal(profile, device)  # the compiler has kernels of its own
    return found if refusal is None else replace(found, notes=(say_refusal(refusal), *found.notes), refused=True)


def load_measured(paths: Sequence[str]) -> tuple[Profile, ...]:
    """Saved profiles that hold measurements; `UsageError` for one that does not."""
    profiles = tuple(store.load(path) for path in paths)
    for path, profile in zip(paths, profiles, strict=True):
        if profile.measurement is None:
            raise UsageError(f"{path} holds no measurement.", "Measured ones are made by: archprof table … --cuda -o")
    return profiles


def add_prediction(profile: Profile, prediction: LatencyPrediction) -> Profile:
    """The profile with a prediction in the place of any other."""
    others = (one for one in profile.overlays if not isinstance(one, LatencyPrediction))
    return replace(profile, overlays=(*others, prediction))


def predict_on(profile: Profile, name: str, how: RunRequest | None = None) -> Profile:
    """The profile with what it should take on the one device of that name.

    Raises:
        UsageError: as `choose_device`, or for several names.
    """
    device, note = choose_one_device(name)
    prediction = predict_pass(profile, device, how)
    return add_prediction(profile, replace(prediction, notes=(note, *prediction.notes)) if note else prediction)


def choose_one_device(name: str) -> ChosenDevice:
    """The device of a name; `UsageError` for several names, which have a command of their own."""
    if "," in name and not name.endswith(".json"):
        raise UsageError(f"{name!r} names several devices.", "One at a time here; several: archprof predict.")
    return choose_device(name)


def validate_device(name: str) -> None:
    """Raise what `predict_on` would raise for a name, before there is a profile."""
    find_rates(choose_one_device(name).device)
