"""The pictures of several models: who pays what for which error, and their stages and fields side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase

from archprof.analysis import elapsed
from archprof.analysis.compare.comparison import Comparison
from archprof.analysis.compare.predicted_times import are_alike_predicted, find_predicted_time
from archprof.analysis.metrics import METRIC_BY_KEY, measure_model
from archprof.analysis.report import charts
from archprof.analysis.report.backdrop import find_backdrop
from archprof.analysis.report.charts import ChartData, Point, chart_unit, label_axis
from archprof.analysis.report.view import PageView

FRONT_NAME = "Pareto front"

SCATTERED_COSTS = ("macs", "params", "activation_bytes", "peak", "latency", "predicted")
"""What a model pays, by the metrics: the ways across."""

SCATTERED_UPWARDS = ("top5_error", "params")

ERROR_LABEL = "published ImageNet top-5 error"


def build_joint_charts(views: Sequence[PageView], comparison: Comparison) -> tuple[ChartData, ...]:
    """Every picture that has something to set side by side. Keys: "error_macs", "params_macs" and the like, of what
    is upwards and what is across; "stage_params", "stage_macs", "field", "windows".

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
    """One picture for each pair of measures that at least two models have; the first is the one that is asked most:
    the error by the MACs or, without published errors, the parameters by the MACs."""
    held = {key: _read_values(key, views) for key in ("top5_error", *SCATTERED_COSTS)}
    known = {key: [value for value in values if value is not None] for key, values in held.items()}
    shown = {key: held[key] for key, values in known.items() if len(values) > 1 and any(values)}
    upwards = [key for key in SCATTERED_UPWARDS if key in shown]
    pairs = [(x, y) for y in upwards for x in shown if x not in (y, "top5_error")]
    return [_scatter(x, y, shown, views, names) for x, y in pairs]


def _read_values(key: str, views: Sequence[PageView]) -> list[float | None]:
    """What each model has of a measure; nothing where the models' times cannot be set against each other."""
    profiles = [view.profile for view in views]
    if key == "latency" and not elapsed.are_comparable(profiles):
        return []
    if key == "predicted":
        times = map(find_predicted_time, views) if are_alike_predicted(profiles) else ()
        return [time.seconds if time else None for time in times]
    return [measure_model(METRIC_BY_KEY[key], view) for view in views]


def _scatter(
    paid: str,
    got: str,
    held: Mapping[str, Sequence[float | None]],
    views: Sequence[PageView],
    names: tuple[str, ...],
) -> ChartData:
    """A point for each model, and the front of those whose numbers can be set against each other."""
    points: list[tuple[Point, ...]] = []
    fair: list[tuple[float, float, str]] = []
    error = got == "top5_error"
    for view, name, x, y in zip(views, names, held[paid], held[got], strict=True):
        if x is None or y is None:
            points.append(())
            continue
        why = _why_off_front(view, (paid, got))
        points.append(((x, y, f"{name}{why}"),))
        if not why:
            fair.append((x, y, name))
    best = tuple(fair[i] for i in find_pareto_front([(x, y) for x, y, _ in fair]))
    return ChartData(
        key=f"{'error' if error else got}_{paid}",
        title=f"{METRIC_BY_KEY[paid].title} against {'published error' if error else METRIC_BY_KEY[got].word}",
        x_label=label_axis(paid),
        y_label=ERROR_LABEL if error else label_axis(got),
        names=(*names, FRONT_NAME),
        points=(*points, best),
        kind="scatter",
        x_unit=chart_unit(paid),
        y_unit="percent" if error else chart_unit(got),
        joined=(*(False for _ in names), True),
        backdrop=find_backdrop(views, paid, got),
    )


def _why_off_front(view: PageView, measures: Sequence[str]) -> str:
    """Why the model cannot be on the front; "" where it can."""
    if not view.bounds.isdisjoint(measures):
        return " (lower bound)"
    return " (competition entry)" if "top5_error" in measures and view.is_competition_entry else ""


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
        if not any(value for bars in points for _, value, _ in bars):
            continue
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
