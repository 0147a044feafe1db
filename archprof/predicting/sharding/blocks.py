"""Where a model can be cut into the stages of a pipeline: before each of its repeated blocks, in the order of calls."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Literal, get_args

from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Profile

Balance = Literal["cost", "count"]
NO_STAGE = -1


def assign_stages(profile: Profile, stages: int, balance: str = "cost") -> tuple[int, ...]:
    """The stage of each op of the forward and the backward; those of the optimizer are in none.

    What runs before the first block is of the first stage, what runs behind the last one of the last.

    Raises:
        UsageError: there are fewer blocks than stages, or no such way to balance them.
    """
    if balance not in get_args(Balance):
        raise UnknownName("way to balance stages", balance, get_args(Balance))
    starts = find_block_starts(profile, stages)
    if balance == "cost":
        blocks = _place_ops(profile, starts[1:])
        costs = [0] * len(starts)
        for op, block in zip(profile.ops, blocks, strict=True):
            costs[block] += (op.flops or 0) if block != NO_STAGE else 0
        sizes = balance_costs(costs, stages)
    else:
        sizes = balance_counts(len(starts), stages)
    return tuple(_place_ops(profile, [starts[at] for at in accumulate(sizes[:-1])]))


def find_block_starts(profile: Profile, at_least: int) -> list[int]:
    """The call of each block, in order: children of the lists and sequences that stand highest in the model.

    Where these are too few, those inside of them are looked at, and at last the parts of the model itself.
    """
    levels = [*_list_levels(profile), [index for index, call in enumerate(profile.calls) if call.parent == 0]]
    for blocks in levels:
        if len(blocks) >= at_least:
            return blocks
    most = max(map(len, levels))
    raise UsageError(
        f"{profile.model} cannot be cut into {at_least} stages.",
        f"It has {most} blocks that run one after the other; a stage takes one or more.",
        f"Try: pp={max(most, 1)} or less.",
    )


def _list_levels(profile: Profile) -> Iterator[list[int]]:
    """Calls of the blocks by how many lists they may stand in: 1, 2, 3."""
    numbers = [sum(part.isdigit() for part in module.path.split(".")) for module in profile.modules]
    deepest = [*numbers]
    for index in range(len(numbers) - 1, 0, -1):
        parent = profile.modules[index].parent
        if parent is not None:
            deepest[parent] = max(deepest[parent], deepest[index])
    for level in (1, 2, 3):
        is_block = [
            module.path.rpartition(".")[2].isdigit() and numbers[at] == min(level, deepest[at])
            for at, module in enumerate(profile.modules)
        ]
        yield [index for index, call in enumerate(profile.calls) if is_block[call.module]]


def _place_ops(profile: Profile, cuts: Sequence[int]) -> list[int]:
    """The part of each op, where a new one begins with each of these calls.

    An op of a call that spans several parts is of that which runs at the time.
    """
    part_of_call = [bisect_right(cuts, call) for call in range(len(profile.calls))]
    spans: dict[int, tuple[int, int]] = {}
    places, now = [], 0
    for op in profile.ops:
        if op.phase == "optimizer":
            places.append(NO_STAGE)
            continue
        own = part_of_call[op.call]
        if op.phase == "forward":
            now = max(now, own)
            spans[op.call] = (spans.get(op.call, (now, now))[0], now)
        else:
            low, high = spans.get(op.call, (own, own))
            now = min(max(now, low), high)
        places.append(now)
    return places


def balance_counts(blocks: int, stages: int) -> list[int]:
    """Blocks of each stage, as equal as can be: what is left over goes behind the first stage, which embeds."""
    each, more = divmod(blocks, stages)
    sizes = [each] * stages
    for at in range(more):
        sizes[(at + 1) % stages] += 1
    return sizes


def balance_costs(costs: Sequence[int], stages: int) -> list[int]:
    """Blocks of each stage, so that the sum of the squares of what the stages cost is least."""
    sums = [0, *accumulate(costs)]
    count = len(costs)
    best: list[float] = [float(sums[end]) ** 2 for end in range(count + 1)]
    chosen: list[list[int]] = []
    for stage in range(1, stages):
        row, picks = [float("inf")] * (count + 1), [0] * (count + 1)
        for end in range(stage + 1, count + 1):
            tried = [best[start] + float(sums[end] - sums[start]) ** 2 for start in range(stage, end)]
            row[end] = min(tried)
            picks[end] = tried.index(row[end]) + stage
        best = row
        chosen.append(picks)
    ends = [count]
    for picks in reversed(chosen):
        ends.append(picks[ends[-1]])
    ends.append(0)
    ends.reverse()
    return [after - before for before, after in pairwise(ends)]
