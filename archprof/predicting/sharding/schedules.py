"""The schedules of a pipeline: in which order a rank runs its microbatches, how many are in flight, and the bubble.

* GPipe: all forwards, then all backwards (Huang et al., 2019, arXiv 1811.06965).
* 1F1B: each rank runs as many forwards as stages stand from its own to the last, then one backward and one forward in
  turn (PipeDream-Flush: Narayanan et al., 2020, arXiv 2006.09503).
* Interleaved 1F1B: each rank has several stages, every so many of them (Narayanan et al., "Efficient large-scale
  language model training on GPU clusters using Megatron-LM", 2021, arXiv 2104.04473, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from archprof.errors import UnknownName, UsageError

Schedule = Literal["1f1b", "gpipe", "interleaved"]
STAGES_INTERLEAVED = 2
"""Stages of a rank where they are interleaved, as torchtitan has them."""


class Pass(NamedTuple):
    """One pass of a rank: of which of its own stages, counted from 0, and of which microbatch."""

    forward: bool
    chunk: int
    microbatch: int


def count_chunks(schedule: str, stages: int) -> int:
    """Stages of each rank; a pipeline of one stage has one."""
    return STAGES_INTERLEAVED if schedule == "interleaved" and stages > 1 else 1


def check_schedule(schedule: str, stages: int, microbatches: int) -> None:
    """Raise `UsageError` where these microbatches cannot go through so many stages by that schedule."""
    if schedule not in get_args(Schedule):
        raise UnknownName("schedule", schedule, get_args(Schedule))
    if microbatches < 1:
        raise UsageError(f"--microbatches {microbatches} cannot be run.", "1 or more.", f"Try: --microbatches {stages}")
    if schedule == "1f1b" and microbatches < stages:
        raise UsageError(
            f"1f1b cannot run {microbatches} microbatches through {stages} stages.",
            "As many microbatches as stages, or more.",
            f"Try: --microbatches {stages}, or --schedule gpipe",
        )
    if schedule == "interleaved" and microbatches % _count_rounds(stages, microbatches):
        raise UsageError(
            f"interleaved cannot run {microbatches} microbatches through {stages} ranks.",
            "Rounds of equally many; a multiple of the ranks always is.",
            f"Try: --microbatches {stages * (microbatches // stages)}",
        )


def order_passes(schedule: str, stages: int, rank: int, microbatches: int) -> list[Pass]:
    """The passes of a rank, in order; waiting is left out."""
    chunks = count_chunks(schedule, stages)
    total = microbatches * chunks
    each = microbatches // _count_rounds(stages, microbatches)
    forwards = [_place_pass(True, at, each, chunks) for at in range(total)]
    backwards = [_place_pass(False, at, each, chunks) for at in range(total)]
    ahead = _count_ahead(schedule, stages, rank, microbatches)
    order = forwards[:ahead]
    for at in range(total - ahead):
        order += [backwards[at], forwards[ahead + at]] if chunks == 1 else [forwards[ahead + at], backwards[at]]
    return [*order, *backwards[total - ahead :]]


def _count_ahead(schedule: str, stages: int, rank: int, microbatches: int) -> int:
    """Forwards before the first backward, or the turn of one of each."""
    if schedule == "gpipe":
        return microbatches
    chunks = count_chunks(schedule, stages)
    if chunks == 1:
        return min(microbatches, stages - rank)
    each = microbatches // _count_rounds(stages, microbatches)
    return min(microbatches * chunks, (chunks - 1) * each + 2 * (stages - 1 - rank))


def _count_rounds(stages: int, microbatches: int) -> int:
    """Of as many microbatches as ranks, or some more: torch lets go of Megatron's rule that they be equal."""
    return max(1, microbatches // stages)


def _place_pass(forward: bool, at: int, each: int, chunks: int) -> Pass:
    """The pass at that place: the microbatches of a round go through one stage, then through the next."""
    done, within = divmod(at, each * chunks)
    chunk = within // each
    return Pass(forward, chunk if forward else chunks - 1 - chunk, done * each + within % each)


class InFlight(NamedTuple):
    """What a rank holds where it holds most.

    Attributes:
        counts: of each of its stages, the microbatches whose backward is still to come.
        before_backward: none was done yet, so that there are no gradients of earlier ones.
    """

    counts: tuple[int, ...]
    before_backward: bool


def count_in_flight(passes: Sequence[Pass], kept: Sequence[int], gradients: int = 0) -> InFlight:
    """What is in flight when most bytes are held.

    Args:
        passes: of the rank.
        kept: bytes that one microbatch keeps in each stage.
        gradients: bytes of all gradients of the rank.
    """
    now, found = [0] * len(kept), InFlight((1,) * len(kept), True)
    most, before = (-1, 0), True
    for forward, chunk, _ in passes:
        before = before and forward
        now[chunk] += 1 if forward else -1
        held = sum(count * size for count, size in zip(now, kept, strict=True)) + (0 if before else gradients)
        if (held, sum(now)) > most:
            most, found = (held, sum(now)), InFlight(tuple(now), before)
    return found


def share_bubble(schedule: str, stages: int, microbatches: int) -> float:
    """The part of a step in which a rank waits for others, if all stages take equally long.

    GPipe and 1F1B: (p - 1) / (m + p - 1); with v stages on each of p ranks: (p - 1) / (v m + p - 1).
    """
    chunks = count_chunks(schedule, stages)
    return (stages - 1) / (chunks * microbatches + stages - 1)
