"""Whether others count the same, and which ops explain what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from archprof import units
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.other_tools import count_as_tool
from archprof.analysis.other_tools.tool_count import ToolCount
from archprof.analysis.table import Column, Row, Table
from archprof.analysis.tables import notes
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.tracing.verify import SourceCount

COLUMNS = (
    Column("source", "Source", "text", "who counts", 0),
    Column("what", "What", "text", "the work that a part of the difference stands for", 0),
    METRIC_BY_KEY["params"].column_of_model(1, meaning="parameters, each once"),
    METRIC_BY_KEY["macs"].column_of_model(
        1, meaning="multiply-accumulates of one forward, by the rule of the source", family="work"
    ),
    Column("difference", "Difference", "count", "what it counts beyond archprof; negative: less", 0, "work"),
    Column("verdict", "Verdict", "text", "agrees; explained by the ops below it; differs; not run", 0),
)

AGREES, EXPLAINED, DIFFERS, NOT_RUN = "agrees", "explained", "differs", "not run"
UNEXPLAINED = "unexplained"


class Reason(NamedTuple):
    """One line of an explanation: what so many parameters or MACs of a difference are; not `known`: left over."""

    what: str
    params: int | None = None
    macs: int | None = None
    known: bool = True


def tabulate_verification(profile: Profile, counts: Iterable[SourceCount]) -> Table:
    """One row per source, and under it the ops that explain its difference, which add up to it exactly.

    What they leave over stands in a row of its own, "unexplained".
    """
    totals = profile.totals
    bounds = frozenset[str]() if totals.complete else frozenset({"macs"})
    own = Row(("archprof", None, totals.params, totals.macs, None, notes.describe_certainty(profile)), bounds=bounds)
    rows = [own, *(row for count in counts for row in _source(profile, count))]
    return Table(f"{profile.model} counted by others", COLUMNS, tuple(rows), notes=notes.collect_notes(profile))


def all_agree(compared: Table) -> bool:
    """Whether a source counted the model, and none differs in what is not explained."""
    verdicts = [row.cells[-1] for row in compared.rows[1:]]
    return DIFFERS not in verdicts and bool({AGREES, EXPLAINED} & set(verdicts))


def _source(profile: Profile, count: SourceCount) -> Iterator[Row]:
    """The row of one source, then what explains it."""
    difference = None if count.macs is None else count.macs - profile.totals.macs
    if difference is not None and count.rounding and abs(difference) <= count.rounding:
        difference = None
    reasons = [*_params(profile, count), *(_macs(profile, count, difference) if difference else ())]
    open_ends = not all(reason.known for reason in reasons)
    if count.params is None and count.macs is None:
        verdict = NOT_RUN
    else:
        verdict = DIFFERS if open_ends else EXPLAINED if reasons else AGREES
    what = count.why or (f"rounded, within {units.show_quantity(count.rounding, 'count')}" if count.rounding else None)
    yield Row((count.source, what, count.params, count.macs, difference, verdict))
    for what, params, macs, _ in reasons:
        yield Row((count.source, what, params, None, macs, None), name="", depth=1)


def _params(profile: Profile, count: SourceCount) -> Iterator[Reason]:
    """Parameters that a source does not have: those that this pass did not read, or nobody knows which."""
    if count.params is None or count.params == profile.totals.params:
        return
    missing = count.params - profile.totals.params
    unread = profile.unread_parameters
    if missing == -sum(one.spec.numel for one in unread):
        heads = dict.fromkeys(one.name.split(".")[0] for one in unread)
        yield Reason(f"not read in this pass: {', '.join(heads)}", params=missing)
    else:
        yield Reason(UNEXPLAINED, params=missing, known=False)


def _macs(profile: Profile, count: SourceCount, difference: int) -> Iterator[Reason]:
    """The difference, kind of work by kind of work."""
    left, tool = difference, count_as_tool(profile, count.convention) if count.convention else None
    for what, amount in _by_rule(tool) if tool else ():
        left -= amount
        yield Reason(what, macs=amount)
    if tool and (unseen := sum(_convolutions(profile, count.unseen))):
        left += unseen
        yield Reason('convolution with padding="same", another node to it', macs=-unseen)
    for what in _one_way_or_the_other(tool, left) if tool else ():
        yield Reason(what, macs=left)
        left = 0
    if abs(left) > count.rounding:
        why = tool.failure if tool else None
        yield Reason(f"{UNEXPLAINED}: {why}" if why else UNEXPLAINED, macs=left, known=False)


def _by_rule(tool: ToolCount) -> Iterator[tuple[str, int]]:
    """What the source's own rule counts more or less than archprof's."""
    return ((line.what, line.low - line.macs) for line in tool.find_differences() if line.low == line.high)


def _one_way_or_the_other(tool: ToolCount, left: int) -> Iterator[str]:
    """Work that a source may count otherwise, depending on how it was written, where that can be what is left."""
    open_lines = [line for line in tool.lines if line.low < line.high]
    low, high = sum(line.low - line.macs for line in open_lines), sum(line.high - line.macs for line in open_lines)
    if left and low <= left <= high:
        yield "; ".join(line.what for line in open_lines)


def _convolutions(profile: Profile, paths: tuple[str, ...]) -> Iterator[int]:
    """MACs of the convolutions of these modules that the rule, which sees no `padding="same"`, took for counted."""
    padded = {op.call for op in profile.ops if op.name == "aten.constant_pad_nd"}
    in_call = [profile.modules[call.module].path in paths for call in profile.calls]
    for op in profile.ops:
        if op.name == "aten.convolution" and op.call not in padded and in_call[op.call]:
            yield op.macs or 0
