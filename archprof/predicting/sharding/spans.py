"""When the calls of a module run: from which op to which, forward and backward, and what goes in with a gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from archprof.facts.records import Profile

Span = tuple[int, int]
"""The first and the last op."""

UNTRACKED = ("aten.detach.", "aten.lift_fresh.")


class CallSpan(NamedTuple):
    """One call of a module, with all that it calls.

    Attributes:
        call: index into `Profile.calls`.
        forward: its ops there; `None`: there are none.
        backward: likewise, with what a checkpoint runs again.
        needs_input_gradient: one of the tensors that it reads from outside has a gradient.
    """

    call: int
    forward: Span | None
    backward: Span | None
    needs_input_gradient: bool


def find_spans(profile: Profile, modules: Iterable[int]) -> dict[int, list[CallSpan]]:
    """The calls of these modules, by module and in order."""
    wanted: dict[int, list[CallSpan]] = {module: [] for module in modules}
    forward, backward = (_find_phase_spans(profile, phase) for phase in ("forward", "backward"))
    calls = [index for index, call in enumerate(profile.calls) if call.module in wanted]
    outside = _find_inputs_with_gradient(profile, {call: forward[call] for call in calls if forward[call]})
    for index in calls:
        span = CallSpan(index, forward[index], backward[index], index in outside)
        wanted[profile.calls[index].module].append(span)
    return wanted


def _find_phase_spans(profile: Profile, phase: str) -> list[Span | None]:
    """Of each call: its ops of that phase, and those of the calls that it made."""
    spans: list[Span | None] = [None] * len(profile.calls)
    for position, op in enumerate(profile.ops):
        if op.phase == phase:
            own = spans[op.call]
            spans[op.call] = (position if own is None else own[0], position)
    for index in range(len(spans) - 1, -1, -1):
        parent, own = profile.calls[index].parent, spans[index]
        if parent is not None and own is not None:
            around = spans[parent]
            spans[parent] = own if around is None else (min(around[0], own[0]), max(around[1], own[1]))
    return spans


def _find_inputs_with_gradient(profile: Profile, spans: dict[int, Span | None]) -> set[int]:
    """The calls that read a tensor with a gradient which an op before them made."""
    made_by, tracked = _track_gradients(profile)
    found = set()
    for call, span in spans.items():
        assert span is not None
        read = (tensor for position in range(span[0], span[1] + 1) for tensor in profile.ops[position].inputs)
        if any(tensor in tracked and made_by.get(tensor, span[0]) < span[0] for tensor in read):
            found.add(call)
    return found


def _track_gradients(profile: Profile) -> tuple[dict[int, int], set[int]]:
    """The op of the forward that made each tensor, and the tensors that autograd tracks, parameters among them."""
    trained = {one.storage for one in profile.parameters if one.trainable and one.storage is not None}
    tracked = {index for index, tensor in enumerate(profile.tensors) if tensor.storage in trained}
    made_by: dict[int, int] = {}
    for position, op in enumerate(profile.ops):
        if op.phase != "forward":
            break
        follows = not tracked.isdisjoint(op.inputs) and not op.signature.name.startswith(UNTRACKED)
        for tensor in op.outputs:
            made_by.setdefault(tensor, position)
            if follows and _is_floating(profile, tensor):
                tracked.add(tensor)
    return made_by, tracked


def _is_floating(profile: Profile, tensor: int) -> bool:
    dtype = profile.tensors[tensor].spec.dtype
    return "float" in dtype or "complex" in dtype
