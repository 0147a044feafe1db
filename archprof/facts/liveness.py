"""What was in memory at once: the lives of the storages, laid over one another.

These are *live* bytes: what the tensors of the pass hold. What an allocator rounds up, keeps back or lends a kernel
as workspace is not in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from archprof.facts.records import Profile, Storage
from archprof.facts.steps import build_shown_step, sum_step_bytes


def compute_peak_bytes(profile: Profile) -> int:
    """The most bytes live at once: parameters, buffers, inputs and whatever the ops had made and not yet dropped.

    An op's inputs and outputs are live together while it runs. A storage without a birth was there from the start,
    one without a death stayed to the end. In the dtypes of the pass.
    """
    return sum(profile.storages[index].nbytes for index in find_live_at_peak(profile))


def find_live_at_peak(profile: Profile) -> tuple[int, ...]:
    """Indices into `profile.storages` of what was live at the first op at which most bytes were.

    Where an optimizer was traced, that is in a step that finds its state.
    """
    step = build_shown_step(profile)
    live = sum_step_bytes(profile, step)
    when = live.index(max(live))
    return tuple(index for index, first, last, _, _ in step.lives if first <= when <= last)


def sum_live_bytes(storages: Iterable[Storage], ops: int) -> list[int]:
    """Bytes of these that are live while each of so many ops runs."""
    changes = [0] * (ops + 1)
    for storage in storages:
        first, last = _life(storage, ops - 1)
        changes[first] += storage.nbytes
        changes[last + 1] -= storage.nbytes
    return list(accumulate(changes[:-1]))


def split_peak_by_layer(profile: Profile) -> list[int]:
    """Of the live bytes at the peak, what each layer owns (parameters, buffers) or has made; inputs are nobody's."""
    sizes = [layer.param_bytes + layer.buffer_bytes for layer in profile.layers]
    for index in find_live_at_peak(profile):
        storage = profile.storages[index]
        if storage.born is not None:
            sizes[profile.call_rows[profile.ops[storage.born].call]] += storage.nbytes
    return sizes


def _life(storage: Storage, end: int) -> tuple[int, int]:
    """The first and the last op at which it is live."""
    return storage.born or 0, end if storage.died is None else storage.died
