"""Architectures side by side: their totals with ratios, where the difference sits, and every layer of each."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from string import ascii_uppercase

from archprof.analysis import elapsed, phrases
from archprof.analysis.compare import align, change, findings, pair_findings, predicted_times, side_by_side
from archprof.analysis.compare.findings import Finding
from archprof.analysis.compare.predicted_times import are_alike_predicted, find_predicted_time
from archprof.analysis.metric import divide
from archprof.analysis.metrics import METRIC_BY_KEY, measure_model
from archprof.analysis.probe_findings import compare_probes
from archprof.analysis.table import Column, Legend, Row, Table, Value
from archprof.analysis.tables import notes
from archprof.analysis.view import ProfileView
from archprof.collector import shorten_collections
from archprof.errors import UsageError
from archprof.facts.records import Profile

ALIGNMENTS = ("auto", "path", "stage")
MAX_MODELS = len(ascii_uppercase)

COMPARISON_RULES = (
    findings.find_incomplete_models,
    findings.find_input_differences,
    pair_findings.compare_dominated,
    pair_findings.compare_costs,
    pair_findings.compare_fields,
    pair_findings.where_macs_differ,
    pair_findings.compare_errors,
    pair_findings.compare_depths,
    pair_findings.compare_memory,
    pair_findings.compare_times,
    predicted_times.compare_predicted_times,
    compare_probes,
    findings.find_concentrated_params,
    findings.find_early_activations,
)

CHANGE_RULES = (
    findings.find_incomplete_models,
    findings.find_input_differences,
    change.say_change,
    pair_findings.compare_times,
    predicted_times.compare_predicted_times,
)

SUMMARY_MEASURES = (
    METRIC_BY_KEY["params"].column_of_model(2, meaning="parameters, each tensor once"),
    METRIC_BY_KEY["macs"].column_of_model(2),
    METRIC_BY_KEY["flops"].column_of_model(12),
    METRIC_BY_KEY["act_fp32"].column_of_model(8, family="activation"),
    METRIC_BY_KEY["latency"].column_of_model(3),
    METRIC_BY_KEY["predicted"].column_of_model(3),
    METRIC_BY_KEY["act_fp16"].column_of_model(14, family="activation"),
    METRIC_BY_KEY["depth"].column_of_model(16),
    METRIC_BY_KEY["field"].column_of_model(18),
    METRIC_BY_KEY["top5_error"].column_of_model(1),
    METRIC_BY_KEY["vanishing"].column_of_model(9),
)
"""What the summary gives of each model, each with its ratio to the first."""

SUMMARY_LEGEND = {
    "model": "x is the ratio to A.",
    "depth": "Depth: weight layers one after another on the longest way.",
    "field": "Field: input pixels along a side that one position sees, before all are mixed.",
}
"""What a reader must know of the columns, by their keys."""

CHANGE_LEGEND = "+/- is the change from A to B, as a share of A."

NO_LATENCY_RATIO = "No ratio of latency: not all models were measured on one device by one method."


@dataclass(frozen=True)
class Comparison:
    """What a design review asks of several models.

    Attributes:
        summary: one row per model, with the ratio to the first behind each number.
        findings: what is worth saying, in sentences, the most important first.
        stages: parts of about the same resolution beside each other; they add up to the totals of each model.
        layers: every row of every model exactly once, beside what it corresponds to.
        changes: of two versions of one model, what changed; `None` for different nets.
    """

    summary: Table
    findings: tuple[Finding, ...]
    stages: Table
    layers: Table
    changes: Table | None = None

    @property
    def parts(self) -> Table | None:
        """What stands below the sentences: what changed, or the stages beside each other, where they are comparable."""
        return self.changes or (self.stages if self.stages.rows else None)

    def to_text(self, width: int | None = None) -> str:
        """The summary, the findings and the parts, as wide as they need to be or at most `width`."""
        parts = f"\n{self.parts.to_text(width)}" if self.parts else ""
        return f"{self.summary.to_text(width)}\n{self.sentences(width)}{parts}"

    def sentences(self, width: int | None = None) -> str:
        """The findings as a list, one per line or wrapped at `width`."""
        return findings.list_sentences(self.findings, width)

    def to_markdown(self) -> str:
        """What a pull request's comment says: the findings as a list, the summary, what changed or the stages.

        The layers of different nets follow; those of two versions are what `changes` leaves out.
        """
        from archprof.analysis.printing import formats

        return formats.comparison_markdown(self)

    def to_latex(self) -> str:
        """The summary, the findings as a list, the stages and the layers."""
        from archprof.analysis.printing import formats

        return formats.comparison_latex(self)

    def to_json(self) -> str:
        """One object, schema 1: the tables as they are on their own, and the findings with what they rest on."""
        names = ("summary", "stages", "layers", *(("changes",) if self.changes else ()))
        tables = {name: json.loads(getattr(self, name).to_json()) for name in names}
        said = [asdict(finding) for finding in self.findings]
        return json.dumps({"schema": 1, "findings": said, **tables}, indent=2) + "\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: small, without plotly."""
        from archprof.analysis.printing import formats

        return formats.comparison_cell(self)

    def __str__(self) -> str:
        """Plain text that fits the terminal, where there is one."""
        return self.to_text(shutil.get_terminal_size((0, 0)).columns or None)


@shorten_collections()
def compare(profiles: Sequence[Profile], *, by: str = "auto") -> Comparison:
    """Set models side by side; every ratio is to the first. Two versions of one model are a change from A to B.

    Args:
        profiles: two or more.
        by: how layers are matched: "path" (of the same name), "stage" (by resolution, and inside a stage by kind in
            order), or "auto": by path where the models name and use most of their layers alike.

    Raises:
        UsageError: for fewer than two models, more than 26, or a `by` that does not exist.
    """
    validate_comparison(len(profiles), by=by)
    return compare_views([ProfileView(profile) for profile in profiles], by=by)


def compare_views(
    views: Sequence[ProfileView], *, by: str = "auto", hidden: Collection[str] = frozenset()
) -> Comparison:
    """The comparison of models that were looked at before; `hidden`: measures that its summary leaves out, by key."""
    named = _name_apart(views)
    names = [view.name for view in named]
    changed = len(views) == 2 and change.are_versions(views[0].profile, views[1].profile)
    stages = align.align_stages(named) if pair_findings.are_of_one_kind(named) else []
    path = by == "path" or not stages or (by == "auto" and (changed or align.are_one_family(named)))
    return Comparison(
        summary=_summary(named, changed, hidden),
        findings=findings.choose_findings(CHANGE_RULES if changed else COMPARISON_RULES, named, stages),
        changes=change.tabulate_changes(*named) if changed else None,
        stages=side_by_side.tabulate_stages(names, named, stages),
        layers=side_by_side.tabulate_layers_by_path(names, named)
        if path
        else side_by_side.tabulate_layers_by_stage(names, named, stages),
    )


def validate_comparison(models: int, *, by: str = "auto") -> None:
    """Raise what `compare` would raise for so many models and this option, before there is a profile."""
    if by not in ALIGNMENTS:
        raise UsageError(f"Layers cannot be matched by {by!r}.", f"Allowed: {', '.join(ALIGNMENTS)}.")
    if not 2 <= models <= MAX_MODELS:
        given = "1 model was" if models == 1 else f"{models} models were"
        raise UsageError(f"{given} given to compare.", f"From 2 to {MAX_MODELS} can be compared.")


def _name_apart(views: Sequence[ProfileView]) -> list[ProfileView]:
    """The views, each by a name of its own in a sentence: its letter is added where two models have one name."""
    often = Counter(view.name for view in views)
    return [
        view.renamed(f"{view.name} ({letter})") if often[view.name] > 1 else view
        for letter, view in zip(ascii_uppercase, views, strict=False)
    ]


def _sources(views: Sequence[ProfileView]) -> list[str]:
    """A line for each published error that is not of one net."""
    competed = [view for view in views if view.is_competition_entry]
    return list(dict.fromkeys(f"Error of {view.profile.model}: {view.error_source}." for view in competed))


def _summary(views: Sequence[ProfileView], changed: bool, hidden: Collection[str]) -> Table:
    """One row for each model; a measure that no model has gets no column. A change is signed, and a share."""
    measures = [column for column in SUMMARY_MEASURES if column.key not in hidden]
    values = {column: [measure_model(METRIC_BY_KEY[column.key], view) for view in views] for column in measures}
    shown = {column: own for column, own in values.items() if any(value is not None for value in own)}
    columns = [Column("model", "Model", "path", "the letter that stands for it, and its name", 0)]
    for column in shown:
        columns += [column, _beside(column, changed)]
    timed = elapsed.are_comparable([view.profile for view in views])
    apart = set() if timed else {"latency"}
    apart |= set() if are_alike_predicted([view.profile for view in views]) else {"predicted"}
    keys, rows = frozenset(column.key for column in shown), []
    for i, (letter, view) in enumerate(zip(ascii_uppercase, views, strict=False)):
        cells: list[Value] = [view.profile.model]
        for column, own in shown.items():
            alike = column.key in side_by_side.OF_MODELS or pair_findings.are_of_one_kind((views[0], view))
            ratio = divide(own[i], own[0]) if alike and column.key not in apart else None
            cells += [own[i], None if ratio is None else (ratio - 1 if i else None) if changed else ratio]
        within, _ = elapsed.mark_times({"latency": view.time, "predicted": find_predicted_time(view)})
        rows.append(
            Row(tuple(cells), f"{letter} {view.profile.model}", bounds=view.bounds & keys, half_intervals=within)
        )
    title = f"{views[0].name} {'to' if changed else 'against'} {phrases.join_words([view.name for view in views[1:]])}"
    if any(pair_findings.find_dominating(views, i) is not None for i in range(len(views))):
        columns.append(
            Column(
                "dominated",
                "Dominated by",
                "text",
                "a model with no more MACs, parameters and error, and less of one",
                1,
            )
        )
        rows = [_mark_dominated(row, views, i) for i, row in enumerate(rows)]
    return Table(title, tuple(columns), tuple(rows), notes=(*_notes(views, changed, keys), *_sources(views)))


def _beside(column: Column, changed: bool) -> Column:
    """What stands behind a measure: its ratio to A, or its change from A to B."""
    rank = column.rank + 1
    if changed:
        meaning = f"{column.meaning}: change from A to B, as a share of A"
        return Column(f"{column.key}_change", "+/-", "share", meaning, rank, is_ratio=True)
    return Column(f"{column.key}_ratio", "x", "count", f"{column.meaning}: ratio to A", rank, is_ratio=True)


def _mark_dominated(row: Row, views: Sequence[ProfileView], i: int) -> Row:
    better = pair_findings.find_dominating(views, i)
    return replace(row, cells=(*row.cells, None if better is None else ascii_uppercase[better]))


def _notes(views: Sequence[ProfileView], changed: bool, keys: Collection[str]) -> tuple[str, ...]:
    """How it was counted, and under the letters of the models what was asked of each and what was not counted."""
    lines = phrases.say_once([notes.collect_notes(view.profile) for view in views])
    timed = [view for view in views if view.time]
    apart = timed and not elapsed.are_comparable([view.profile for view in views])
    said = Legend.of({key: text for key, text in SUMMARY_LEGEND.items() if key == "model" or key in keys})
    return (CHANGE_LEGEND if changed else said, *lines, *([NO_LATENCY_RATIO] if apart else []))
