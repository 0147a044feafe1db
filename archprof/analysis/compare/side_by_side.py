"""Tables with a few columns for each of several models: a letter stands for a model, and nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from string import ascii_uppercase
from typing import NamedTuple

from archprof.analysis import elapsed
from archprof.analysis.compare import align, holdings
from archprof.analysis.compare.changed_rows import outline_changes
from archprof.analysis.compare.pair_findings import are_of_one_kind
from archprof.analysis.compare.predicted_times import are_alike_predicted
from archprof.analysis.compare.sequences import AlignedRow
from archprof.analysis.counts import Counts, sum_counts
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metric import Metric, divide
from archprof.analysis.metrics import METRIC_BY_KEY, find_lower_bounds
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.table import Column, Row, Table, Value
from archprof.analysis.tables.columns import build_outside_lines
from archprof.analysis.tables.line_folding import COUNTED_SUMS
from archprof.analysis.tables.stages import Stage
from archprof.analysis.view import ProfileView
from archprof.facts.overlays import Outside
from archprof.wording import say_many


class RatioMeasure(NamedTuple):
    """What is given of each model: a metric, and the ranks of the first column of numbers and of ratios.

    Where the page is too narrow, the last model goes first.
    """

    metric: Metric
    rank: int
    ratio_rank: int


ALIGNED_MEASURES = (RatioMeasure(METRIC_BY_KEY["macs"], 0, 15), RatioMeasure(METRIC_BY_KEY["params"], 30, 70))
LATENCY_MEASURE = RatioMeasure(METRIC_BY_KEY["latency"], 0, 14)
"""Shown where one method measured all models on one device."""
PREDICTED_MEASURE = RatioMeasure(METRIC_BY_KEY["predicted"], 0, 14)
"""Shown where all models were predicted on one device."""

HOLDS_RANK = 60

OF_MODELS = ("params",)
"""What is of the model and not of a pass, so that nets for pixels and for tokens have a ratio of it."""


@dataclass(frozen=True, slots=True)
class SideBySideRow:
    """One row: its name, and for each model what it holds there and what that costs (`None`: nothing is there).

    Of what is `left_over`, the time that no row explains, there is no ratio.
    """

    name: str
    holds: tuple[str | None, ...]
    counts: tuple[Counts | None, ...]
    bounds: tuple[frozenset[str], ...]
    short: str | None = None
    depth: int = 0
    subtotal: bool = False
    left_over: bool = False
    stages: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """ "+" for what the first model has not, "-" for what it has and another has not."""
        if self.counts[0] is None:
            return "+"
        return "-" if None in self.counts else ""


def tabulate_stages(names: Sequence[str], views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Table:
    """One row for each group of stages of about the same resolution."""
    return _table("Stages", "Stage", names, views, [*(_stage(views, at) for at in stages), *_rest(views)])


def tabulate_layers_by_stage(names: Sequence[str], views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Table:
    """Stages, and in each the rows of every model, matched by kind."""
    lines = [line for at in stages for line in _opened(views, at)]
    return _table("Layers by stage", "Stage or layer", names, views, [*lines, *_rest(views)])


def tabulate_layers_by_path(names: Sequence[str], views: Sequence[ProfileView]) -> Table:
    """Rows of the same path beside each other, under the part of the model that they belong to."""
    counts = [dict(enumerate(view.own_counts)) for view in views]
    lines = [_named_by_path(views, row, counts) for row in align.align_by_path(views)]
    groups = [list(group) for _, group in groupby(lines, key=lambda line: line.name.partition(".")[0])]
    parts = [line for group in groups for line in _gathered(group)]
    return _table("Layers by path", "Layer", names, views, [*parts, *_rest(views)])


def _stage(views: Sequence[ProfileView], at: AlignedRow) -> SideBySideRow:
    """What each model does at about one resolution."""
    found = _stages_at(views, at)
    names = tuple(dict.fromkeys(stage.name for stage in found if stage))
    return SideBySideRow(
        name=" / ".join(names),
        stages=names,
        holds=tuple(
            holdings.list_contents(view, stage) if stage else None for view, stage in zip(views, found, strict=True)
        ),
        counts=tuple(stage.counts if stage else None for stage in found),
        bounds=tuple(
            _lower_bounds(view, stage.counts_by_row if stage else {}) for view, stage in zip(views, found, strict=True)
        ),
    )


def _stages_at(views: Sequence[ProfileView], at: AlignedRow) -> list[Stage | None]:
    return [None if i is None else view.stages[i] for view, i in zip(views, at, strict=True)]


def _opened(views: Sequence[ProfileView], at: AlignedRow) -> Iterator[SideBySideRow]:
    """A stage, and its rows below it: a row is named by its kind, for each model has its own path for it."""
    yield replace(_stage(views, at), subtotal=True)
    counts = [stage.counts_by_row if stage else {} for stage in _stages_at(views, at)]
    for row in align.align_rows_in_stage(views, at):
        kind = next(view.layer(i).kind for view, i in zip(views, row, strict=True) if i is not None)
        paths = [None if i is None else view.row_name(i) for view, i in zip(views, row, strict=True)]
        yield replace(_row_of(views, row, counts), name=kind, holds=tuple(paths), depth=1)


def _named_by_path(
    views: Sequence[ProfileView], row: AlignedRow, counts: Sequence[Mapping[int, Counts]]
) -> SideBySideRow:
    """A row, named by its path; each model has its own kind and shape for it."""
    name = next(view.row_name(i) for view, i in zip(views, row, strict=True) if i is not None)
    return replace(_row_of(views, row, counts), name=name)


def _row_of(views: Sequence[ProfileView], row: AlignedRow, counts: Sequence[Mapping[int, Counts]]) -> SideBySideRow:
    """One row of each model, given what the rows of each count here."""
    found = [{} if i is None else {i: own[i]} for own, i in zip(counts, row, strict=True)]
    return SideBySideRow(
        name="",
        holds=tuple(None if i is None else holdings.describe_row(view, i) for view, i in zip(views, row, strict=True)),
        counts=tuple(None if i is None else one[i] for one, i in zip(found, row, strict=True)),
        bounds=tuple(_lower_bounds(view, one) for view, one in zip(views, found, strict=True)),
    )


def _gathered(lines: Sequence[SideBySideRow]) -> Iterator[SideBySideRow]:
    """Rows of one part of the models, under their sum if they are several."""
    if len(lines) == 1:
        yield lines[0]
        return
    part = lines[0].name.partition(".")[0]
    columns = list(zip(*(line.counts for line in lines), strict=True))
    present = [[counts for counts in column if counts is not None] for column in columns]
    yield SideBySideRow(
        name=part,
        holds=tuple(say_many(len(own), "row") if own else None for own in present),
        counts=tuple(sum_counts(own) if own else None for own in present),
        bounds=tuple(frozenset().union(*own) for own in zip(*(line.bounds for line in lines), strict=True)),
        subtotal=True,
    )
    for line in lines:
        yield replace(line, short=line.name.removeprefix(f"{part}."), depth=1)


def _rest(views: Sequence[ProfileView]) -> Iterator[SideBySideRow]:
    """What was measured or predicted and belongs to no layer."""
    if not _list_time_measures(views):
        return
    found = [{line.outside: line for line in build_outside_lines(view.profile, "part")} for view in views]
    for outside, line in {key: line for rows in found for key, line in rows.items()}.items():
        nothing = (None,) * len(views)
        counts = tuple(rows[outside].counts if outside in rows else Counts() for rows in found)
        left_over = outside is Outside.UNATTRIBUTED
        yield SideBySideRow(line.name, nothing, counts, (frozenset(),) * len(views), left_over=left_over)


def _lower_bounds(view: ProfileView, counts: Mapping[int, Counts]) -> frozenset[str]:
    """The keys that are lower bounds over these rows, given what each counts."""
    return find_lower_bounds(
        unknown=any(one.unknown for one in counts.values()),
        stopped=not view.stopped_rows.isdisjoint(counts),
        unsized=not view.unsized_rows.isdisjoint(counts),
    )


def _table(
    title: str, header: str, names: Sequence[str], views: Sequence[ProfileView], lines: Sequence[SideBySideRow]
) -> Table:
    letters = ascii_uppercase[: len(names)]
    measures = (*ALIGNED_MEASURES, *_list_time_measures(views))
    columns = _columns(header, letters, names, measures)
    legend = ", ".join(f"{letter} {name}" for letter, name in zip(letters, names, strict=True))
    alike = [are_of_one_kind((views[0], view)) for view in views]
    rows = tuple(_row(line, columns, measures, alike) for line in lines)
    return Table(
        title=f"{title}: {legend}",
        columns=columns,
        rows=rows,
        total=_row(_total(views, lines), columns, measures, alike),
        outline=outline_changes(rows, [_is_changed(line) for line in lines]),
        notes=_legend(lines),
    )


def _list_time_measures(views: Sequence[ProfileView]) -> list[RatioMeasure]:
    """The times that can be set against each other, measured and predicted."""
    profiles = [view.profile for view in views]
    measured = [LATENCY_MEASURE] if elapsed.are_comparable(profiles) else []
    return measured + ([PREDICTED_MEASURE] if are_alike_predicted(profiles) else [])


def _columns(header: str, letters: str, names: Sequence[str], measures: Sequence[RatioMeasure]) -> tuple[Column, ...]:
    columns = [Column("part", header, "path", "+ is not in the first model, - is missing in another", 0)]
    for metric, rank, ratio_rank in measures:
        key, word = metric.key, metric.short_word
        columns += [
            Column(
                f"{key}_{letter.lower()}",
                f"{letter} {word}",
                metric.unit,
                f"{word} of {name}",
                rank + i,
                key,
                is_sum=True,
            )
            for i, (letter, name) in enumerate(zip(letters, names, strict=True))
        ]
        columns += [
            Column(
                f"{key}_ratio_{letter.lower()}",
                f"{letter}/A",
                "count",
                f"{word} of {name} to A",
                ratio_rank + i,
                is_ratio=True,
            )
            for i, (letter, name) in enumerate(zip(letters[1:], names[1:], strict=True))
        ]
    meaning = "what each model has there, once where all have the same"
    return (*columns, Column("holds", "What is there", "words", meaning, HOLDS_RANK))


def _row(
    line: SideBySideRow, columns: Sequence[Column], measures: Sequence[RatioMeasure], alike: Sequence[bool]
) -> Row:
    """Models that are not `alike`, for one takes pixels and one tokens, have no ratio but of their weights."""
    cells: list[Value] = [line.name]
    for measure in measures:
        key = measure.metric.key
        values = [_value(counts, key) for counts in line.counts]
        told = [_value_for_ratio(counts, key) if key in OF_MODELS or same else None
                for counts, same in zip(line.counts, alike, strict=True)]  # fmt: skip
        cells += [*values, *(None if line.left_over else divide(value, told[0]) for value in told[1:])]
    cells.append(holdings.join_holdings(line.holds))
    letters = ascii_uppercase[: len(line.counts)].lower()
    unsure = {f"{key}_{letter}" for letter, keys in zip(letters, line.bounds, strict=True) for key in keys}
    named = zip(letters, line.counts, strict=True)
    counted = [(letter, one) for letter, one in named if one]
    times: dict[str, Elapsed | PredictedTime | None] = {f"latency_{letter}": one.latency for letter, one in counted}
    times |= {f"predicted_{letter}": one.predicted for letter, one in counted}
    within, below = elapsed.mark_times({key: time or None for key, time in times.items()})
    mark = f"{line.mark} " if line.mark else ""
    return Row(
        cells=tuple(cells),
        name=f"{mark}{line.name}",
        short=f"{mark}{line.short or line.name}",
        depth=line.depth,
        subtotal=line.subtotal,
        bounds=frozenset(unsure.intersection(column.key for column in columns)),
        half_intervals=within,
        below_resolution=below,
        stages=line.stages,
    )


def _value(counts: Counts | None, key: str) -> float | None:
    value = None if counts is None else getattr(counts, key)
    return value.seconds if isinstance(value, Elapsed | PredictedTime) else value


def _value_for_ratio(counts: Counts | None, key: str) -> float | None:
    """The value, if there is a ratio of it: not where a time is less than can be told."""
    elapsed = counts.latency if counts and key == "latency" else None
    return None if elapsed and elapsed.below_resolution else _value(counts, key)


def _total(views: Sequence[ProfileView], lines: Sequence[SideBySideRow]) -> SideBySideRow:
    added = [line for line in lines if not line.subtotal]
    return SideBySideRow(
        name="Total",
        holds=(None,) * len(views),
        counts=tuple(
            sum_counts([Counts(), *(line.counts[i] or Counts() for line in added)]) for i in range(len(views))
        ),
        bounds=tuple(frozenset().union(*(line.bounds[i] for line in added)) for i in range(len(views))),
    )


def _legend(lines: Sequence[SideBySideRow]) -> tuple[str, ...]:
    """What the signs before the names mean, where there are any."""
    meanings = {"-": "- is in A and missing in another model", "+": "+ is not in A"}
    used = [meaning for mark, meaning in meanings.items() if any(line.mark == mark for line in lines)]
    return (f"{'; '.join(used)}.",) if used else ()


def _is_changed(line: SideBySideRow) -> bool:
    """The models do not hold the same there, or it does not cost the same."""
    return len(set(line.holds)) > 1 or len({counts and _list_costs(counts) for counts in line.counts}) > 1


def _list_costs(counts: Counts) -> tuple[int, ...]:
    return tuple(getattr(counts, key) for key in COUNTED_SUMS)
