"""What another tool would print, beside what archprof counts, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archprof import units
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.other_tools import count_as_tool
from archprof.analysis.other_tools.tool_count import Convention, ToolCount, WorkLine
from archprof.analysis.table import Column, Row, Table, Value
from archprof.analysis.tables import notes
from archprof.facts.records import Profile


def _make_columns(convention: Convention) -> tuple[Column, ...]:
    tool = convention.tool
    return (
        Column("what", "What", "text", "a kind of work", 0),
        Column("pieces", "Pieces", "count", "how many pieces of it there are", 3),
        METRIC_BY_KEY["macs"].column_of_model(1, meaning="what archprof counts for it", family="work"),
        Column(
            "counted", tool, "count", f"multiply-adds by the rule of {tool}, the least that it may count", 0, "work"
        ),
        Column("difference", "Difference", "count", f"what {tool} counts beyond archprof; negative: less", 0, "work"),
    )


def tabulate_tool(profile: Profile, name: str) -> Table:
    """What the tool called `name` would print for one model: the work of which its number is made.

    Raises:
        UnknownName: there is no rule of that name.
        UsageError: the profile is of a training pass.
    """
    count = count_as_tool(profile, name)
    convention = count.convention
    total = None if count.failure else _make_row(_sum_lines(count), "Total")
    return Table(
        title=f"{profile.model} by the rule of {convention.tool} {convention.version}",
        columns=_make_columns(convention),
        rows=tuple(_make_row(line) for line in count.lines),
        total=total,
        notes=tuple(_write_notes(profile, count)),
    )


def _sum_lines(count: ToolCount) -> WorkLine:
    lines = count.lines
    return WorkLine("", 0, *(sum(amounts) for amounts in zip((0, 0, 0), *(line[2:] for line in lines), strict=True)))


def _make_row(line: WorkLine, name: str | None = None) -> Row:
    cells: tuple[Value, ...] = (line.what, line.pieces, line.macs, line.low, line.low - line.macs)
    if name is not None:
        cells = (None, None, *cells[2:])
    bounds = frozenset({"counted", "difference"}) if line.low != line.high else frozenset[str]()
    return Row(cells, name=name, bounds=bounds)


def _write_notes(profile: Profile, count: ToolCount) -> Iterator[str]:
    yield describe_tool_count(profile, count)
    if count.failure is None:
        yield from filter(None, [count.convention.limits, "" if count.is_exact else count.convention.unclear])
    inputs = ", ".join(profile.inputs) or "none"
    yield f"Input {inputs}; batch {profile.batch}; the numbers of archprof are {notes.describe_certainty(profile)}."


def describe_tool_count(profile: Profile, count: ToolCount) -> str:
    """What the tool prints, in its own unit and word, beside the MACs of archprof."""
    convention = count.convention
    if count.low is None or count.high is None:
        return f"{convention.tool} {convention.version} gives no number here: {count.failure}."
    low = f"{count.low:,} {convention.unit_word} ({units.show_quantity(count.low, 'count')})"
    amount = (
        low
        if count.is_exact
        else f"at least {low}, at most {count.high:,} ({units.show_quantity(count.high, 'count')})"
    )
    twice = f", {convention.per_mac} for a multiply-add" if convention.per_mac > 1 else ""
    ours = f"archprof counts {profile.totals.macs:,} MACs"
    return f"{convention.tool} {convention.version} prints {amount}{twice}, by {convention.call}; {ours}."


def tabulate_tool_for_models(profiles: Sequence[Profile], name: str) -> Table:
    """The same number for each of several models; raises what `one` raises."""
    counts = [count_as_tool(profile, name) for profile in profiles]
    convention = counts[0].convention
    header = f"{convention.tool}: {convention.unit_word}"
    columns = (
        Column("model", "Model", "path", "its name", 0),
        METRIC_BY_KEY["macs"].column_of_model(0, meaning="what archprof counts", family="work"),
        Column("printed", header, "count", "what that tool would print, at least", 0, "work"),
        Column("at_most", "At most", "count", "the same if the code was written the other way", 1, "work"),
    )
    rows = (
        Row(
            (profile.model, profile.totals.macs, count.low, count.high),
            bounds=frozenset({"printed"} if count.low != count.high else ())
            | frozenset({"macs"} if not profile.totals.complete else ()),
        )
        for profile, count in zip(profiles, counts, strict=True)
    )
    return Table(
        title=f"By the rule of {convention.tool} {convention.version}",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(
            f"{p.model}: {describe_tool_count(p, t)}" for p, t in zip(profiles, counts, strict=True) if t.failure
        ),
    )
