"""Whether a run fits on a device: what it needs against what can be used there."""

from __future__ import annotations

from typing import Literal, NamedTuple

from archprof.errors import UsageError
from archprof.predicting.devices import Device
from archprof.predicting.memory import Estimate, MemoryPrediction
from archprof.predicting.size_limits import find_refusal

GIB = 1 << 30
USABLE_SHARE = 0.985
"""Of the datasheet's GB, which are GiB: 24,268 of 24,576 MiB on an RTX 3090, 81,559 of 81,920 on an H100."""

USABLE_SHARE_WITH_ECC = 0.93
"""Where GDDR memory holds its error-correcting codes, too: 15,109 of 16,384 MiB on a T4, 23,034 of 24,576 on an L4."""

ECC_DEVICES = (
    "NVIDIA P4", "NVIDIA P40", "NVIDIA T4", "NVIDIA A2", "NVIDIA A16 (per GPU)", "NVIDIA A10", "NVIDIA A10G",
    "NVIDIA A40", "NVIDIA L4", "NVIDIA L40", "NVIDIA L40S",
)  # fmt: skip

VerdictWord = Literal["fits", "does not fit", "too close to say", "does not run"]


class Verdict(NamedTuple):
    """What is said of a device, and of how many bytes of its memory."""

    device: str
    capacity: int
    word: VerdictWord


def find_capacity(device: Device) -> int:
    """Bytes that programs can use of a device's memory.

    Raises:
        UsageError: the catalogue does not know its size.
    """
    figure = device.figures.get("mem_gb")
    if figure is None:
        raise UsageError(f"How much memory the {device.name} has is not known.", "archprof devices lists those known.")
    share = USABLE_SHARE_WITH_ECC if device.name in ECC_DEVICES else USABLE_SHARE
    return int(figure.value / 1e9 * GIB * share)


def judge(found: MemoryPrediction, device: Device) -> Verdict:
    """Whether no kernel refuses, and what is needed is there, by its interval; `UsageError` as `find_capacity`."""
    if find_refusal(found.profile, device) is not None:
        return Verdict(device.name, find_capacity(device), "does not run")
    return judge_size(found.needed_bytes, device)


def judge_size(needed: Estimate, device: Device) -> Verdict:
    """The same of a pass that no kernel refuses."""
    capacity = find_capacity(device)
    if needed.low > capacity:
        word: VerdictWord = "does not fit"
    elif needed.high is not None and needed.high <= capacity:
        word = "fits"
    else:
        word = "too close to say"
    return Verdict(device.name, capacity, word)
