"""What would lower the memory of a run most: each change is traced and predicted again."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.facts.request import PassRequest
from archprof.predicting.checkpoint_choice import choose_blocks
from archprof.predicting.memory import Estimate, MemoryPrediction, predict_memory
from archprof.predicting.memory_events import Workspaces
from archprof.sources.optimizer_grammar import parse_optimizer
from archprof.sources.resolve import check_traceable
from archprof.tracing.profile import profile_model

OPTIMIZER_KERNELS = ("foreach=False", "fused=True")
"""Ways to make the same step with fewer temporaries, where a class has them."""


LEAST_SHARE = 0.01
"""Of what is used: what saves less is none, for segments fall as they fall."""


class Advice(NamedTuple):
    """One change, and what it does.

    Attributes:
        change: as it is typed behind the command.
        options: the keywords that say the same in Python.
        needed: the least memory in which it then goes through, with the context.
        device_used, allocated, live: the peaks with it.
        saved: bytes that less is used of the device.
        more_flops: FLOPs of a sample, forward and backward, that a checkpoint adds, as a share; `None`: it is no other.
    """

    change: str
    options: dict[str, Any]
    needed: Estimate
    device_used: Estimate
    allocated: Estimate
    live: Estimate
    saved: int
    more_flops: float | None


class Change(NamedTuple):
    """What else to ask for."""

    words: str
    request: PassRequest


def find_advice(
    model: Any, inputs: Any, request: PassRequest, profile: Profile, now: MemoryPrediction, workspaces: Workspaces
) -> tuple[Advice, ...]:
    """The changes that lower what is used of the device, the best first.

    Raises:
        UsageError: the model is a saved profile, which cannot be traced otherwise.
    """
    check_traceable(model)
    found = []
    for words, asked in _list_changes(request, profile):
        try:
            traced = profile_model(model, inputs, asked)
        except ArchprofError:  # it does not go together with this model
            continue
        then = predict_memory(traced, workspaces)
        if then.refusal is not None:
            continue
        saved = now.device_used_bytes.value - then.device_used_bytes.value
        if saved >= LEAST_SHARE * now.device_used_bytes.value:
            peaks = then.needed_bytes, then.device_used_bytes, then.allocated_peak_bytes, then.live_peak_bytes
            more = None if asked.checkpoint == request.checkpoint else _count_flops(traced) / _count_flops(profile) - 1
            found.append(Advice(words, asked.list_changes(request), *peaks, saved, more))
    return tuple(sorted(found, key=lambda one: -one.saved))


def _list_changes(request: PassRequest, profile: Profile) -> Iterator[Change]:
    if request.train:
        yield from _change_training(request, profile)
    if profile.dtype == "float32":
        if request.amp is None:
            yield Change("--amp bfloat16", replace(request, amp="bfloat16"))
        yield Change("--dtype bfloat16", replace(request, dtype="bfloat16", amp=None))
    if request.batch > 1:
        half = request.batch // 2
        yield Change(f"--batch {half}", replace(request, batch=half))


def _change_training(request: PassRequest, profile: Profile) -> Iterator[Change]:
    for pattern in choose_blocks(profile):
        yield Change(f"--checkpoint {_quote(pattern)}", replace(request, checkpoint=(*request.checkpoint, pattern)))
    if not request.set_to_none:
        yield Change("--set-to-none", replace(request, set_to_none=True))
    if request.batch % 2 == 0:
        half, twice = request.batch // 2, 2 * request.accumulate
        yield Change(f"--batch {half} --accumulate {twice}", replace(request, batch=half, accumulate=twice))
    for optimizer in _vary_optimizer(request.optimizer):
        yield Change(f"--optimizer {_quote(optimizer)}", replace(request, optimizer=optimizer))


def _vary_optimizer(text: str | None) -> Iterator[str]:
    """The same optimizer with other kernels, where nothing is said of them."""
    if text is None:
        return
    kind, given = parse_optimizer(text)
    if {"foreach", "fused"} & given.keys():
        return
    name, _, rest = text.strip().removesuffix(")").partition("(")
    for kernel in OPTIMIZER_KERNELS:
        if kernel.partition("=")[0] in inspect.signature(kind).parameters:
            yield f"{name}({f'{rest}, ' if rest.strip() else ''}{kernel})"


def _quote(text: str) -> str:
    return f"'{text}'" if set(text) & set("*?[]() ") else text


def _count_flops(profile: Profile) -> float:
    """Of a sample: a forward, and a backward if there is one."""
    totals = profile.totals
    return (totals.flops + (totals.backward_flops or 0)) / profile.batch or 1.0
