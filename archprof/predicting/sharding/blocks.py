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
LEAST_CHAINED = 2 / 3


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

    Where these are too few, those inside of them are looked at, and at last the parts of the model, the costliest of
    them taken apart until they are enough.
    """
    chains = [blocks for blocks in _list_levels(profile) if _is_chain(profile, blocks)]
    levels = [*chains, _take_apart(profile, at_least)]
    for blocks in levels:
        if len(blocks) >= at_least:
            return blocks
    most = max(map(len, levels))
    raise UsageError(
        f"{profile.model} cannot be cut into {at_least} stages.",
        f"It has {most} blocks that run one after the other; a stage takes one or more.",
        f"Try: pp={max(most, 1)} or less.",
    )


def _take_apart(profile: Profile, at_least: int) -> list[int]:
    """The calls of the model itself, or of its parts."""
    within: dict[int, list[int]] = {}
    for index, call in enumerate(profile.calls):
        within.setdefault(-1 if call.parent is None else call.parent, []).append(index)
    costs = [0] * len(profile.calls)
    for op in profile.ops:
        costs[op.call] += op.flops or 0
    for index in range(len(costs) - 1, 0, -1):
        parent = profile.calls[index].parent
        costs[parent or 0] += costs[index]
    parts = within.get(0, [])
    while len(parts) < at_least:
        costliest = max((at for at in parts if at in within), key=costs.__getitem__, default=None)
        if costliest is None:
            break
        parts = sorted([*(at for at in parts if at != costliest), *within[costliest]])
    return parts


def _is_chain(profile: Profile, blocks: Sequence[int]) -> bool:
    """Whether most of the blocks take what the one before gives; branches side by side do not."""
    calls = [profile.calls[at] for at in blocks]
    fitting = sum(one.outputs[:1] == other.inputs[:1] for one, other in pairwise(calls))
    return fitting >= LEAST_CHAINED * (len(calls) - 1)


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

    An op of a call that spans several parts, with all that it calls, is of that which runs at the time. What a forward
    sends again where it is run again, under a checkpoint, is of the backward that it runs in.
    """
    passes = [at for at, op in enumerate(profile.ops) if op.phase != "optimizer"]
    middle = next((place for place, at in enumerate(passes) if profile.ops[at].phase == "backward"), len(passes))
    first = [bisect_right(cuts, call) for call in range(len(profile.calls))]
    last, now = [*first], 0
    places = [NO_STAGE] * len(profile.ops)
    for at in passes[:middle]:
        call = profile.ops[at].call
        now = places[at] = max(now, first[call])
        last[call] = max(last[call], now)
    for call in range(len(last) - 1, 0, -1):
        parent = profile.calls[call].parent
        if parent is not None:
            last[parent] = max(last[parent], last[call])
    for at in passes[middle:]:
        call = profile.ops[at].call
        now = places[at] = min(max(now, first[call]), last[call])
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
