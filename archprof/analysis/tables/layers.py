"""What every layer costs: one profile, asked by layer, stage, kind or op."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archprof.analysis import elapsed
from archprof.analysis.receptive import fields
from archprof.analysis.table import Row, Table, Value
from archprof.analysis.tables import notes, stages
from archprof.analysis.tables.call_tree import OWN, Forest
from archprof.analysis.tables.columns import (
    BACKWARD,
    COLUMNS,
    FIELDS,
    GROUPINGS,
    MEASURED,
    PEAKS,
    SUMMED,
    Counts,
    Line,
    add,
    available,
    headed,
    legend,
    measured,
    rest_lines,
)
from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Profile

NOT_MEASURED = "Nothing was measured here, so measured columns are empty: add --measure cpu or --cuda."


def table(
    profile: Profile,
    *,
    by: str = "layer",
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    top: int | None = None,
) -> Table:
    """What every layer costs, or every stage, kind or op; the rows that are no subtotals add up to the total.

    Args:
        by: "layer" (a tree, one row a module call), "stage" (runs of one spatial size), "kind" (module class), "op".
        depth: by layer only: fold rows deeper than this into the one above; the model itself is 0.
        columns: keys of `archprof.analysis.tables.columns.COLUMNS`; the one that names the rows always comes first.
        sort: a column to sort by, largest first; by layer this gives a flat list of what each call did itself.
        top: show so many rows, by latency or else MACs unless `sort` says otherwise, and the sum of the others in one.

    Raises:
        UnknownName: for a grouping or column that does not exist here.
        UsageError: for a depth or top that cannot be.
    """
    check(by=by, depth=depth, columns=columns, sort=sort, top=top)
    keys = _keys(profile, by, columns, sort)
    lines = _lines(profile, by, depth, keys, flat=sort is not None or top is not None)
    weight = "macs" if by == "op" or elapsed.by(profile) is None else "latency"
    order = sort or (weight if top is not None or GROUPINGS[by].sort else None)
    rest = [] if by == "op" else rest_lines(profile, GROUPINGS[by].key)
    total = _total(profile, [*lines, *rest])
    if order:
        lines = _sorted(lines, order, total)
    if top is not None and top < len(lines):
        lines = [*lines[:top], _others(lines[top:], GROUPINGS[by].key)]
    lines += rest
    chosen = [headed(profile, COLUMNS[key].column) for key in keys]
    lacking = [NOT_MEASURED] if profile.measurement is None and set(keys) & set(MEASURED) else []
    if columns:
        chosen = [replace(column, rank=rank) for rank, column in enumerate(chosen)]
    return Table(
        title=f"{profile.model} by {by}",
        columns=tuple(chosen),
        rows=tuple(_row(line, keys, total) for line in lines),
        total=_row(Line("Total", total, _peak(profile), stopped=profile.failure is not None), keys, total),
        notes=(*notes.of(profile, own=any(line.short == OWN for line in lines), by=by), *lacking),
    )


def check(
    *,
    by: str = "layer",
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    top: int | None = None,
) -> None:
    """Raise what `table` would raise for these options: it can be asked before there is a profile."""
    known = available(by)
    for name in [*(columns or ()), *([] if sort is None else [sort])]:
        if name not in known:
            raise UnknownName(f"column in a table by {by}", name, known, f"Columns:\n{legend(by).rstrip()}")
    if depth is not None and by != "layer":
        raise UsageError(f"A depth ({depth}) was given for a table by {by}.", "Only a table by layer has a depth.")
    if depth is not None and depth < 0:
        raise UsageError(f"The depth is {depth}.", "It is 0 (the model in one row) or more.")
    if top is not None and top < 1:
        raise UsageError(f"The top {top} rows were asked for.", "Ask for 1 or more.")


def _total(profile: Profile, lines: list[Line]) -> Counts:
    back = 0 if profile.mode == "train" else None
    nothing = Counts(backward_macs=back, backward_flops=back)
    return add([nothing, *(line.counts for line in lines if not line.subtotal)])


def _peak(profile: Profile) -> dict[str, Value]:
    """The measured peaks of the whole pass, which are no sums."""
    whole = profile.measurement.memory_whole if profile.measurement else None
    return dict(zip(PEAKS, (whole.allocated_peak, whole.reserved_peak), strict=True)) if whole else {}


def _keys(profile: Profile, by: str, columns: Sequence[str] | None, sort: str | None) -> list[str]:
    """The columns of the table: the naming one, the one it is sorted by if nobody asked for it, the others."""
    shown = list(columns or _shown(profile, by))
    if sort and sort not in shown:
        shown.insert(0, sort)
    return list(dict.fromkeys([GROUPINGS[by].key, *shown]))


def _shown(profile: Profile, by: str) -> list[str]:
    """What is shown when no columns are named; shares and bars are of the time where that was measured."""
    known, more = available(by), measured(profile)
    hidden = {*(() if profile.mode == "train" else BACKWARD), *(("act_fp16", "share_macs") if more else ())}
    return [key for key in (*GROUPINGS[by].shown, *more) if key in known and key not in hidden]


def _lines(profile: Profile, by: str, depth: int | None, keys: list[str], flat: bool) -> list[Line]:
    if by == "op":
        return _by_op(profile)
    counted = {key.removeprefix("share_") for key in keys} | ({"latency"} if set(keys) & set(MEASURED) else set())
    forest = Forest(profile, tuple(counted & SUMMED - {"calls"}), _facts(profile, keys))
    if by == "layer":
        return list(forest.flat(depth) if flat else forest.tree(depth))
    return _by_kind(forest) if by == "kind" else stages.lines(profile, forest.own, forest.rows())


def _facts(profile: Profile, keys: list[str]) -> Sequence[Mapping[str, Value]]:
    """What the columns say of each layer beside its counts."""
    seen: Sequence[Mapping[str, Value]] = ()
    if set(FIELDS) & set(keys):
        seen = [fields.cells(field) for field in fields.fields(profile)]
    if set(PEAKS) & set(keys):
        peaks = elapsed.peaks(profile)
        seen = [{**cells, **peak} for cells, peak in zip(seen or [{}] * len(peaks), peaks, strict=True)]
    return seen


def _by_kind(forest: Forest) -> list[Line]:
    """One line a module class."""
    groups: dict[str, list[int]] = {}
    for index in forest.rows():
        groups.setdefault(forest.layers[index].kind, []).append(index)
    return [
        Line(
            name=kind,
            counts=add(forest.own[i] for i in rows),
            facts={"kind": kind},
            stopped=not forest.stopped.isdisjoint(rows),
        )
        for kind, rows in groups.items()
    ]


def _by_op(profile: Profile) -> list[Line]:
    """One line an aten op. `calls` counts the dispatches, forward and backward."""
    train, groups = profile.mode == "train", dict[str, list[Counts]]()
    for op in profile.ops:
        macs, flops, back = op.macs or 0, op.flops or 0, op.phase == "backward"
        counts = Counts(
            calls=1,
            macs=0 if back else macs,
            flops=0 if back else flops,
            backward_macs=(macs if back else 0) if train else None,
            backward_flops=(flops if back else 0) if train else None,
            bytes_moved=op.bytes_read + op.bytes_written,
            unknown=int(op.status == "unknown"),
        )
        groups.setdefault(op.name, []).append(counts)
    return [Line(name, add(counts), {"op": name}) for name, counts in groups.items()]


def _sorted(lines: list[Line], key: str, total: Counts) -> list[Line]:
    """Numbers from large to small, names from a to z, missing values last; ties stay in the order of the calls."""
    value: Callable[[Line], Any] = lambda line: COLUMNS[key].value(line, total)  # noqa: E731
    present = [line for line in lines if value(line) is not None]
    rest = [line for line in lines if value(line) is None]
    return sorted(present, key=value, reverse=COLUMNS[key].column.unit not in ("text", "path")) + rest


def _others(lines: list[Line], key: str) -> Line:
    name = f"({len(lines)} other row{'s' if len(lines) > 1 else ''})"
    stopped = any(line.stopped for line in lines)
    return Line(name, add(line.counts for line in lines), {key: name}, stopped=stopped)


def _row(line: Line, keys: list[str], total: Counts) -> Row:
    return Row(
        cells=tuple(COLUMNS[key].value(line, total) for key in keys),
        name=line.name,
        short=line.short,
        depth=line.depth,
        subtotal=line.subtotal,
        bounds=line.bounds.intersection(keys),
        within=line.within,
        under=line.under,
    )
