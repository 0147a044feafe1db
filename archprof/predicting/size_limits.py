"""Sizes that kernels of torch refuse on CUDA, however much memory there is.

* flash attention: 65,535 sequences, and as many heads: they are the second and third axis of its grid of blocks, of
  which CUDA has no more. The efficient kernel goes through batches in parts, but not through heads.
* pooling and padding that count with 32 bits: avg_pool2d what it returns (AveragePool2d.cu), reflection_pad1d and
  reflection_pad2d what they are given (ReflectionPad.cu).

As torch 2.14 has them. Seen at the batches that timm's benchmark could not run on an RTX PRO 6000 of 96 GB. Other
processors than GPUs have other kernels; of AMD's and Intel's GPUs it is taken to be so, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from archprof.facts.ops import Op
from archprof.facts.records import Profile
from archprof.predicting.devices import Device
from archprof.predicting.workspaces import find_attention_backend

MOST_BLOCKS = 65_535
MOST_ELEMENTS = 2**31 - 1

GPU_KINDS = ("gpu", "cuda")
"""Kinds of devices in the catalogue, and in files of `archprof calibrate`."""


class Refusal(NamedTuple):
    """An op that does not run.

    Attributes:
        op: its name, as torch writes it.
        path: of the module that calls it.
        size, most: of what it is given, and what its kernel takes.
        unit: what these count.
    """

    op: str
    path: str
    size: int
    most: int
    unit: str

    def __str__(self) -> str:
        where = f" of {self.path}" if self.path else ""
        return f"{self.op}{where} has {self.size:,} {self.unit}; its kernel on CUDA takes no more than {self.most:,}."


Limit = tuple[int, int, str]
"""A size, the most that the kernel takes, and what they count."""


def find_refusal(profile: Profile, device: Device | None = None) -> Refusal | None:
    """The first op of a pass that no GPU runs at its size; a profile without layouts has none that is known.

    `device`: on which it is to run; `None`: on any GPU.
    """
    if device is not None and device.kind not in GPU_KINDS:
        return None
    seen: set[int] = set()
    for op in profile.ops:
        if op.name not in LIMITS or not op.signature.inputs or id(op.signature) in seen:
            continue
        seen.add(id(op.signature))
        for size, most, unit in LIMITS[op.name](op):
            if size > most:
                return Refusal(op.name, profile.path_of(op), size, most, unit)
    return None


def say_refusal(refusal: Refusal, where: str = "CUDA") -> str:
    """Why a pass does not run on a device, in a sentence."""
    return f"It does not run on {where}: {refusal}"


def _limit_attention(op: Op) -> Iterator[Limit]:
    backend, query = find_attention_backend(op), op.signature.inputs[0]
    if backend == "flash":
        yield query.shape[0], MOST_BLOCKS, "sequences"
    if backend != "math":
        yield query.shape[1], MOST_BLOCKS, "heads"


def _limit_result(op: Op) -> Iterator[Limit]:
    yield op.signature.outputs[0].numel, MOST_ELEMENTS, "elements of result"


def _limit_input(op: Op) -> Iterator[Limit]:
    yield op.signature.inputs[0].numel, MOST_ELEMENTS, "elements of input"


LIMITS: Mapping[str, Callable[[Op], Iterator[Limit]]] = {
    "aten.scaled_dot_product_attention": _limit_attention,
    "aten.avg_pool2d": _limit_result,
    "aten.reflection_pad1d": _limit_input,
    "aten.reflection_pad2d": _limit_input,
}
