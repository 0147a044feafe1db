"""What another tool would print, beside what archprof counts, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archprof import units
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
        Column("macs", "MACs", "count", "what archprof counts for it", 1, "work"),
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
    tally = count_as_tool(profile, name)
    convention = tally.convention
    total = None if tally.failure else _make_row(_sum_lines(tally), "Total")
    return Table(
        title=f"{profile.model} by the rule of {convention.tool} {convention.version}",
        columns=_make_columns(convention),
        rows=tuple(_make_row(line) for line in tally.lines),
        total=total,
        notes=tuple(_write_notes(profile, tally)),
    )


def _sum_lines(tally: ToolCount) -> WorkLine:
    lines = tally.lines
    return WorkLine("", 0, *(sum(amounts) for amounts in zip((0, 0, 0), *(line[2:] for line in lines), strict=True)))


def _make_row(line: WorkLine, name: str | None = None) -> Row:
    cells: tuple[Value, ...] = (line.what, line.pieces, line.macs, line.low, line.low - line.macs)
    if name is not None:
        cells = (None, None, *cells[2:])
    bounds = frozenset({"counted", "difference"}) if line.low != line.high else frozenset[str]()
    return Row(cells, name=name, bounds=bounds)


def _write_notes(profile: Profile, tally: ToolCount) -> Iterator[str]:
    yield describe_tool_count(profile, tally)
    if tally.failure is None:
        yield from filter(None, [tally.convention.limits, "" if tally.is_exact else tally.convention.unclear])
    inputs = ", ".join(profile.inputs) or "none"
    yield f"Input {inputs}; batch {profile.batch}; the numbers of archprof are {notes.describe_certainty(profile)}."


def describe_tool_count(profile: Profile, tally: ToolCount) -> str:
    """What the tool prints, in its own unit and word, beside the MACs of archprof."""
    convention = tally.convention
    if tally.low is None or tally.high is None:
        return f"{convention.tool} {convention.version} gives no number here: {tally.failure}."
    low = f"{tally.low:,} {convention.unit_word} ({units.show_quantity(tally.low, 'count')})"
    amount = (
        low
        if tally.is_exact
        else f"at least {low}, at most {tally.high:,} ({units.show_quantity(tally.high, 'count')})"
    )
    twice = f", {convention.per_mac} for a multiply-add" if convention.per_mac > 1 else ""
    ours = f"archprof counts {profile.totals.macs:,} MACs"
    return f"{convention.tool} {convention.version} prints {amount}{twice}, by {convention.call}; {ours}."


def tabulate_tool_for_models(profiles: Sequence[Profile], name: str) -> Table:
    """The same number for each of several models; raises what `one` raises."""
    tallies = [count_as_tool(profile, name) for profile in profiles]
    convention = tallies[0].convention
    header = f"{convention.tool}: {convention.unit_word}"
    columns = (
        Column("model", "Model", "path", "its name", 0),
        Column("macs", "MACs", "count", "what archprof counts", 0, "work"),
        Column("printed", header, "count", "what that tool would print, at least", 0, "work"),
        Column("at_most", "At most", "count", "the same if the code was written the other way", 1, "work"),
    )
    rows = (
        Row(
            (profile.model, profile.totals.macs, tally.low, tally.high),
            bounds=frozenset({"printed"} if tally.low != tally.high else ())
            | frozenset({"macs"} if not profile.totals.complete else ()),
        )
        for profile, tally in zip(profiles, tallies, strict=True)
    )
    return Table(
        title=f"By the rule of {convention.tool} {convention.version}",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(
            f"{p.model}: {describe_tool_count(p, t)}" for p, t in zip(profiles, tallies, strict=True) if t.failure
        ),
    )
