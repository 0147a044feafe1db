"""The pictures of several models: who pays what for which error, and their stages and fields side by side."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

from archprof.analysis.compare.comparison import Comparison
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.report import charts
from archprof.analysis.report.charts import ChartData, Point, chart_unit, label_axis
from archprof.analysis.report.view import PageView

FRONT_NAME = "Pareto front"

SCATTERED_COSTS = ("macs", "params")

ERROR_LABEL = "published ImageNet top-5 error"


def build_joint_charts(views: Sequence[PageView], comparison: Comparison) -> tuple[ChartData, ...]:
    """Every picture that has something to set side by side. Keys: "error_macs", "error_params",
    "params_macs", "stage_params", "stage_macs", "field", "windows".

    The first set one cost against another measure as Canziani, Paszke and Culurciello, "An Analysis of Deep Neural
    Network Models for Practical Applications" (2016), do; their last set of points is the front: the models that no
    other beats in one of the two without losing in the other.
    """
    names = tuple(row.name or "" for row in comparison.summary.rows)
    fields = [charts.chart_fields(view) for view in views]
    chains = [charts.chart_windows(view) for view in views]
    drawn = [] if comparison.changes else [*build_scatters(views, names), *build_stage_stacks(comparison, names)]
    if any(any(series.points) for series in fields):
        drawn.append(_join_charts(fields, names))
    if all(any(series.points) for series in chains):
        drawn.append(_join_charts(chains, names))
    return tuple(drawn)


def build_scatters(views: Sequence[PageView], names: tuple[str, ...]) -> list[ChartData]:
    """Costs against the error where at least two models have a published one; else parameters against MACs."""
    errors = [view.top5_error for view in views]
    if sum(error is not None for error in errors) > 1:
        return [_scatter(f"error_{key}", views, names, key, errors) for key in SCATTERED_COSTS]
    params = [view.total.params for view in views]
    return [_scatter("params_macs", views, names, "macs", params, "params")]


def _scatter(
    key: str,
    views: Sequence[PageView],
    names: tuple[str, ...],
    paid: str,
    got: Sequence[float | None],
    measure: str | None = None,
) -> ChartData:
    """A point for each model, and the front of those whose numbers can be set against each other.

    `got` are values of the metric `measure`; of the published error where that is left out.
    """
    points: list[tuple[Point, ...]] = []
    fair: list[tuple[float, float, str]] = []
    for view, name, y in zip(views, names, got, strict=True):
        x, why = getattr(view.total, paid), _why_off_front(view, paid, measure is None)
        points.append(() if y is None else ((x, y, f"{name}{why}"),))
        if y is not None and not why:
            fair.append((x, y, name))
    best = tuple(fair[i] for i in find_pareto_front([(x, y) for x, y, _ in fair]))
    against = METRIC_BY_KEY[measure].word if measure else "published error"
    return ChartData(
        key=key,
        title=f"{METRIC_BY_KEY[paid].title} against {against}",
        x_label=label_axis(paid),
        y_label=label_axis(measure) if measure else ERROR_LABEL,
        names=(*names, FRONT_NAME),
        points=(*points, best),
        kind="scatter",
        x_unit=chart_unit(paid),
        y_unit=chart_unit(measure) if measure else "percent",
        joined=(*(False for _ in names), True),
    )


def _why_off_front(view: PageView, paid: str, error: bool) -> str:
    """Why the model cannot be on the front; "" where it can."""
    if paid in view.bounds:
        return " (lower bound)"
    return " (competition entry)" if error and view.is_competition_entry else ""


def find_pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Which points no other is as low as in both and lower in one, from the smallest x on; less is better."""
    kept: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        if not kept or points[i][1] < points[kept[-1]][1] or points[i] == points[kept[-1]]:
            kept.append(i)
    return tuple(kept)


def build_stage_stacks(comparison: Comparison, names: tuple[str, ...]) -> list[ChartData]:
    """Parameters and MACs, stage on stage: a bar per model, a set per stage of about the same resolution.

    No point where a model has no such stage.
    """
    rows = [comparison.stages.record(row) for row in comparison.stages.rows]
    parts = tuple(charts.number_repeats(str(row["part"]) for row in rows))
    letters = ascii_lowercase[: len(names)]
    drawn = []
    for key in ("params", "macs"):
        points = tuple(tuple(_bars(names, [row[f"{key}_{letter}"] for letter in letters])) for row in rows)
        title = f"{METRIC_BY_KEY[key].title} by stage"
        drawn.append(
            ChartData(f"stage_{key}", title, "model", label_axis(key), parts, points, "stack", categories=names)
        )
    return drawn


def _bars(parts: Sequence[str], values: Sequence[object]) -> list[Point]:
    return [(part, value, part) for part, value in zip(parts, values, strict=True) if isinstance(value, int)]


def _join_charts(drawn: Sequence[ChartData], names: tuple[str, ...]) -> ChartData:
    """The pictures of one model each in one: of what several sets show, the last, which is the receptive field."""
    return drawn[0]._replace(names=names, points=tuple(series.points[-1] for series in drawn), kind="line")
