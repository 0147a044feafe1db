"""What every layer costs: one profile, asked by layer, stage, kind or op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from archprof import units
from archprof.analysis import elapsed
from archprof.analysis.counts import Counts, count_op, sum_counts
from archprof.analysis.predicted import NOT_PREDICTED_NOTE, PREDICTED_KEYS
from archprof.analysis.probed import PROBED_KEYS
from archprof.analysis.table import Column, OutlinedRow, Row, Table, Value
from archprof.analysis.tables import notes, stages
from archprof.analysis.tables.call_tree import OWN_LABEL, TreeLines
from archprof.analysis.tables.columns import (
    COLUMN_BY_KEY,
    GROUPINGS,
    CountedLine,
    build_outside_lines,
    describe_columns,
    list_columns,
    list_measured_columns,
    list_predicted_columns,
    relabel_attributed,
    show_activations,
)
from archprof.analysis.tables.fold import MAX_SHOWN_ROWS, Folded, OutlineRow, fold_rows, keep_largest, name_others
from archprof.analysis.tables.line_folding import LineRules
from archprof.analysis.view import ProfileView
from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Profile

NOT_MEASURED_NOTE = "Nothing was measured here, so measured columns are empty: add --measure cpu or --cuda."
NOT_PROBED_NOTE = "Nothing was probed here, so columns of a probe are empty: see archprof probe."
NO_RATIO_NOTE = (
    "{} is left out where an op has no cost rule or the forward stopped: a ratio of lower bounds is no bound."
)


def tabulate_layers(
    profile: Profile | ProfileView,
    *,
    by: str = "layer",
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    top: int | None = None,
    all: bool = False,
) -> Table:
    """What every layer costs, or every stage, kind or op; the rows that are no subtotals add up to the total.

    Args:
        profile: or a view of it that was asked before.
        by: "layer" (a tree, one row per module call), "stage" (runs of one spatial size), "kind" (module class), "op".
        depth: by layer only: fold rows deeper than this into the one above; the model itself is 0.
        columns: keys of `analysis.tables.columns.COLUMN_BY_KEY`; the one that names the rows always comes first.
        sort: a column to sort by, largest first; by layer this gives a flat list of what each call did itself.
        top: show so many rows, and the sum of the others in one: by `sort`, or else the first number among `columns`,
            or else latency or MACs.
        all: show every row to readers too.

    Readers see more than `MAX_SHOWN_ROWS` rows folded, unless a depth, a top or all of them were asked for.

    Raises:
        UnknownName: for a grouping or column that does not exist here.
        UsageError: for a depth or top that cannot be.
    """
    validate_table_options(by=by, depth=depth, columns=columns, sort=sort, top=top)
    view = profile if isinstance(profile, ProfileView) else ProfileView(profile)
    return _tabulate(view, by=by, depth=depth, columns=columns, sort=sort, top=top, all=all)


def outline_layers(view: ProfileView, columns: Sequence[str]) -> Table:
    """The table by layer with these columns, and how its rows open and close on a page."""
    return _tabulate(view, columns=columns, outlined=True)


def _tabulate(
    view: ProfileView,
    *,
    by: str = "layer",
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    top: int | None = None,
    all: bool = False,
    outlined: bool = False,
) -> Table:
    profile, key = view.profile, GROUPINGS[by].key
    keys = _keys(profile, by, columns, sort)
    lines = _lines(view, by, depth, keys, flat=sort is not None or top is not None)
    order = sort or (choose_weight(profile, by, columns) if top is not None else None)
    if order is None and GROUPINGS[by].default_sort:
        order = choose_weight(profile, by, None)
    rest = [] if by == "op" else build_outside_lines(profile, key)
    total = _total(profile, [*lines, *rest])
    rules = LineRules(profile, total, key)
    if order:
        lines = _sorted(lines, order, total)
    folded = Folded[CountedLine]([], [])
    if top is not None and top < len(lines):
        lines = [*lines[:top], _others(lines[top:], rules)]
    elif top is None and depth is None and not all:
        folded = _fold(lines, rules, order, outlined)
    outside = [_row(line, keys, total) for line in rest]
    return Table(
        title=f"{profile.model} by {by}",
        columns=_columns(profile, keys, ranked=bool(columns)),
        rows=(*(_row(line, keys, total) for line in lines), *outside),
        total=_row(_total_line(profile, total), keys, total),
        notes=(
            *notes.collect_notes(profile, own=any(line.short == OWN_LABEL for line in lines), by=by),
            *_lacking(profile, keys),
        ),
        folded=(*(_row(line, keys, total) for line in folded.shown), *outside) if folded.shown else (),
        outline=_outline(folded.outline, keys, total, outside, len(lines)),
        fold_notes=notes.describe_fold(len(lines), any(" x " in line.name for line in folded.shown)),
    )


def _columns(profile: Profile, keys: Sequence[str], ranked: bool) -> tuple[Column, ...]:
    """Those that were asked for go from the last to the first where the page is too narrow, and after the bars."""
    chosen = [relabel_attributed(profile, COLUMN_BY_KEY[key].column) for key in keys]
    return tuple(replace(column, rank=i - len(chosen)) for i, column in enumerate(chosen)) if ranked else tuple(chosen)


def _fold(lines: list[CountedLine], rules: LineRules, order: str | None, outlined: bool) -> Folded[CountedLine]:
    """What a reader sees of many lines; nothing where there are few."""
    if len(lines) <= MAX_SHOWN_ROWS:
        return Folded([], [])
    if order:
        return Folded([*lines[: MAX_SHOWN_ROWS - 1], _others(lines[MAX_SHOWN_ROWS - 1 :], rules)], [])
    if not any(line.depth for line in lines):
        grouped = fold_rows(lines, rules, outlined) if rules.key == "layer" else None
        return grouped or Folded(keep_largest(lines, rules), [])
    return fold_rows(lines, rules, outlined)


def _outline(
    found: Sequence[OutlineRow[CountedLine]], keys: list[str], total: Counts, outside: Sequence[Row], before: int
) -> tuple[OutlinedRow, ...]:
    rows = [OutlinedRow(_row(one.row, keys, total), *one[1:]) for one in found]
    return (*rows, *(OutlinedRow(row, at) for at, row in enumerate(outside, before))) if rows else ()


def _total_line(profile: Profile, total: Counts) -> CountedLine:
    stopped, unsized = profile.failure is not None, bool(profile.unsized)
    return CountedLine("Total", total, _peak(profile), stopped=stopped, unsized=unsized)


def choose_weight(profile: Profile, by: str, columns: Sequence[str] | None) -> str:
    """What rows are ranked by where nothing is said of it: the first number asked for; else the time, or the MACs."""
    asked = (key for key in columns or () if COLUMN_BY_KEY[key].unit in units.UNIT_LADDERS)
    return next(asked, "macs" if by == "op" else find_weight(profile))


def find_weight(profile: Profile) -> str:
    """The column that says how much a row weighs: time where that is known, measured before predicted."""
    if elapsed.find_latency(profile) is not None:
        return "latency"
    return "macs" if profile.prediction is None else "predicted"


def _lacking(profile: Profile, keys: Sequence[str]) -> list[str]:
    """Why columns have no values where they have none."""
    shown, notes = [COLUMN_BY_KEY[key] for key in keys], list[str]()
    if profile.measurement is None and any(metric.measured for metric in shown):
        notes.append(NOT_MEASURED_NOTE)
    if profile.prediction is None and not set(keys).isdisjoint(PREDICTED_KEYS):
        notes.append(NOT_PREDICTED_NOTE)
    if profile.probe is None and not set(keys).isdisjoint(PROBED_KEYS):
        notes.append(NOT_PROBED_NOTE)
    ratios = [metric.header for metric in shown if metric.adds == "ratio" and not metric.measured]
    return notes + ([] if profile.totals.complete else [NO_RATIO_NOTE.format(header) for header in ratios])


def validate_table_options(
    *,
    by: str = "layer",
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    top: int | None = None,
    all: bool = False,
) -> None:
    """Raise what `table` would raise for these options: it can be asked before there is a profile."""
    known = list_columns(by)
    for name in [*(columns or ()), *([] if sort is None else [sort])]:
        if name not in known:
            raise UnknownName(f"column in a table by {by}", name, known, f"Columns:\n{describe_columns(by).rstrip()}")
    if depth is not None and by != "layer":
        raise UsageError(f"A depth ({depth}) was given for a table by {by}.", "Only a table by layer has a depth.")
    if depth is not None and depth < 0:
        raise UsageError(f"The depth is {depth}.", "It is 0 (the model in one row) or more.")
    if top is not None and top < 1:
        raise UsageError(f"The top {top} rows were asked for.", "Ask for 1 or more.")


def _total(profile: Profile, lines: list[CountedLine]) -> Counts:
    back = 0 if profile.mode == "train" else None
    nothing = Counts(backward_macs=back, backward_flops=back)
    return sum_counts([nothing, *(line.counts for line in lines if not line.subtotal)])


def _peak(profile: Profile) -> dict[str, Value]:
    """The measured and predicted peaks of the whole pass, which are no sums."""
    if profile.measurement is None:
        return {}
    from archprof.analysis.predicted_peaks import collect_whole_peaks

    return {**collect_whole_peaks(profile)}


def _keys(profile: Profile, by: str, columns: Sequence[str] | None, sort: str | None) -> list[str]:
    """The columns of the table: the naming one, the one it is sorted by if nobody asked for it, the others."""
    shown = list(columns or _shown(profile, by))
    if sort and sort not in shown:
        shown.insert(0, sort)
    return list(dict.fromkeys([GROUPINGS[by].key, *shown]))


def _shown(profile: Profile, by: str) -> list[str]:
    """What is shown when no columns are named; shares and bars are of the time where that was measured."""
    times = [*list_measured_columns(profile), *list_predicted_columns(profile)]
    known, more = list_columns(by), [key for key in times if key in list_columns(by)]
    hidden = {"act_fp16", "share_macs"} if more else set()
    keys = show_activations(GROUPINGS[by].default_columns, profile.dtype)
    at = next(i for i, key in enumerate(keys) if COLUMN_BY_KEY[key].unit in units.UNIT_LADDERS)
    shown = [key for key in (*keys[:at], *more, *keys[at:]) if key in known and key not in hidden]
    return [key for key in shown if profile.mode == "train" or not COLUMN_BY_KEY[key].trained]


def _lines(view: ProfileView, by: str, depth: int | None, keys: list[str], flat: bool) -> list[CountedLine]:
    if by == "op":
        return _by_op(view.profile)
    shown = [COLUMN_BY_KEY[key] for key in keys]
    read = {"latency"} if any(metric.measured for metric in shown) else set()
    read |= {key for metric in shown for key in metric.reads} - {"calls"}
    lines = TreeLines(view.tree, tuple(read), _facts(view, keys))
    if by == "layer":
        return list(lines.flat_lines(depth) if flat else lines.nested_lines(depth))
    if by == "kind":
        return _by_kind(view, lines.rows())
    return stages.build_stage_lines(view.profile, view.own_counts, lines.rows())


def _facts(view: ProfileView, keys: list[str]) -> list[dict[str, Value]]:
    """What the columns say of each row beside its sums."""
    told = [metric for metric in map(COLUMN_BY_KEY.__getitem__, keys) if metric.value is None and metric.by_row]
    values = [metric.by_row(view) for metric in told if metric.by_row]
    return [dict(zip((metric.key for metric in told), row, strict=True)) for row in zip(*values, strict=True)]


def _by_kind(view: ProfileView, rows: Sequence[int]) -> list[CountedLine]:
    """One line for each module class."""
    groups: dict[str, list[int]] = {}
    for index in rows:
        groups.setdefault(view.layer(index).kind, []).append(index)
    return [
        CountedLine(
            name=kind,
            counts=sum_counts(view.own_counts[i] for i in rows),
            facts={"kind": kind},
            stopped=not view.tree.stopped_rows.isdisjoint(rows),
            unsized=not view.tree.unsized_rows.isdisjoint(rows),
        )
        for kind, rows in groups.items()
    ]


def _by_op(profile: Profile) -> list[CountedLine]:
    """One line for each aten op. `calls` counts the dispatches, forward and backward."""
    groups: dict[str, list[Counts]] = {}
    for op in profile.ops:
        groups.setdefault(op.name, []).append(count_op(op, profile.mode == "train"))
    return [CountedLine(name, sum_counts(counts), {"op": name}) for name, counts in groups.items()]


def _sorted(lines: list[CountedLine], key: str, total: Counts) -> list[CountedLine]:
    """Numbers from large to small, names from a to z, missing values last; ties stay in the order of the calls."""
    value: Callable[[CountedLine], Any] = lambda line: line.value(key, total)  # noqa: E731
    present = [line for line in lines if value(line) is not None]
    rest = [line for line in lines if value(line) is None]
    return sorted(present, key=value, reverse=COLUMN_BY_KEY[key].unit not in ("text", "path")) + rest


def _others(lines: list[CountedLine], rules: LineRules) -> CountedLine:
    name = name_others(len(lines))
    return rules.merge(lines, name, name)


def _row(line: CountedLine, keys: list[str], total: Counts) -> Row:
    within, below = elapsed.mark_times(line.times)
    return Row(
        cells=tuple(line.value(key, total) for key in keys),
        name=line.name,
        short=line.short,
        depth=line.depth,
        subtotal=line.subtotal,
        bounds=line.bounds.intersection(keys),
        half_intervals=within,
        below_resolution=below,
    )
