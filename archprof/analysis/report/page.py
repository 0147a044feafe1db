"""What a report page says of one model or several: facts in reading order, without markup.

The same profiles give the same report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Literal

from archprof.analysis.compare.comparison import Comparison, compare_views, validate_comparison
from archprof.analysis.compare.findings import Finding
from archprof.analysis.depth_charts import LineChart, build_probe_charts
from archprof.analysis.network.network import INNER_COLUMNS, build_network
from archprof.analysis.network.strip import Network
from archprof.analysis.report import appendix, charts, joint_charts, model_findings, savings, tiles, treemap
from archprof.analysis.report.charts import ChartData
from archprof.analysis.report.savings import Saving, TriedRewrite
from archprof.analysis.report.tiles import Tile
from archprof.analysis.report.treemap import TreemapNode
from archprof.analysis.report.view import PageView
from archprof.analysis.table import Table
from archprof.collector import shorten_collections
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.predicting.roofline import validate_roof
from archprof.predicting.runs import choose_one_device, predict_on

__all__ = ["ChartData", "Finding", "ModelPage", "Report", "Saving", "Tile", "TreemapNode", "build_report"]

MIN_FINDINGS = 3
"""Findings that a page has at least, where there is so much to say."""

Badge = Literal["counted", "measured", "predicted"]


@dataclass(frozen=True)
class ModelPage:
    """One model.

    Attributes:
        profile: what all of it is read off.
        tiles: the numbers of the first screen.
        details: what is known and leads no page.
        savings: what could be changed, and what that would save.
        findings: sentences about this model alone; `rows` are names of rows of `table`, `columns` keys of its columns.
        network: its blocks along its length.
        nodes: its modules as nested boxes.
        table: every layer, as a tree.
        charts: see `archprof.analysis.report.charts.build_charts`.
    """

    profile: Profile
    tiles: tuple[Tile, ...]
    details: tuple[str, ...]
    findings: tuple[Finding, ...]
    savings: tuple[Saving, ...]
    network: Network
    nodes: tuple[TreemapNode, ...]
    table: Table
    charts: tuple[ChartData, ...]


@dataclass(frozen=True)
class Report:
    """The page.

    Attributes:
        title: its first line.
        subtitle: what was asked: inputs, dtype, batch and mode; the date, where one is known.
        badge: where the numbers are from.
        models: a part for each.
        comparison: of all of them; `None` for one.
        charts: of all of them together, see `archprof.analysis.report.joint_charts.build_joint_charts`; none for one.
        appendix: sections of a title and lines, or the text of a command.
        probe_charts: gradients and activations along the depth of those models that were probed.
    """

    title: str
    subtitle: tuple[str, ...]
    badge: Badge
    models: tuple[ModelPage, ...]
    comparison: Comparison | None
    charts: tuple[ChartData, ...]
    appendix: tuple[tuple[str, str | tuple[str, ...]], ...]
    probe_charts: tuple[LineChart, ...] = ()


@shorten_collections()
def build_report(
    profiles: Sequence[Profile],
    *,
    command: str = "",
    title: str | None = None,
    device: str | None = None,
    tried: Sequence[TriedRewrite] = (),
    date: str = "",
    sources: Sequence[str] = (),
) -> Report:
    """Everything a design review asks of the models.

    Args:
        profiles: from one to 26; the others are set against the first.
        command: what makes this page again, for its end.
        title: left out: the names of the models.
        tried: of one model, the rewrites that were tried out on it.
        date, sources: when and of which files the page is, as `archprof.sources.provenance` tells.
        device: whether the models fit on it, how long they should take on it, and under whose roof measured layers are
            shown; left out: the one they were measured on.

    Raises:
        UsageError: for no model or more than 26; a device that is not known, or something that was measured on another.
    """
    if not profiles:
        raise UsageError("No model was given to report on.", "Name at least one.")
    if len(profiles) > 1:
        validate_comparison(len(profiles))
    known = choose_one_device(device).device if device is not None else None
    for profile in profiles:
        if known and profile.measurement:
            validate_roof(known, profile.measurement.ran)
    if device is not None:
        profiles = [profile if profile.measurement else predict_on(profile, device) for profile in profiles]
    views = [PageView(profile, known) for profile in profiles]
    inner = INNER_COLUMNS // (len(views) + (len(views) > 1))
    pages = tuple(_page(view, inner, tried if len(views) == 1 else ()) for view in views)
    compared = _filled(compare_views(views, hidden=_list_hidden(views)), pages) if len(profiles) > 1 else None
    return Report(
        title=title or (compared.summary.title if compared else profiles[0].model),
        subtitle=(*_asked(profiles), *([date] if date else [])),
        badge=find_badge(profiles),
        models=pages,
        comparison=compared,
        charts=joint_charts.build_joint_charts(views, compared) if compared else (),
        appendix=appendix.build_appendix(profiles, command, sources),
        probe_charts=build_probe_charts(views, [view.name for view in views]),
    )


def find_badge(profiles: Sequence[Profile]) -> Badge:
    """Where the times are from; what was counted, where not all were measured, or all predicted."""
    if all(profile.measurement for profile in profiles):
        return "measured"
    alone = all(profile.prediction and not profile.measurement for profile in profiles)
    return "predicted" if alone else "counted"


def _list_hidden(views: Sequence[PageView]) -> frozenset[str]:
    """Measures that say nothing here: activations in a dtype that did not run; what nets see that attend to it all."""
    halves = {"act_fp16"} if all(view.profile.dtype != "float16" for view in views) else set()
    fields = set() if all(view.is_convolutional for view in views) else {"field"}
    return frozenset(halves | fields)


def _page(view: PageView, inner: int, tried: Sequence[TriedRewrite]) -> ModelPage:
    return ModelPage(
        profile=view.profile,
        tiles=tiles.build_tiles(view),
        details=tiles.build_details(view),
        findings=model_findings.choose_model_findings(view),
        savings=savings.rank_savings(view, tried),
        network=build_network(view, inner=inner),
        nodes=treemap.build_treemap(view),
        table=view.table,
        charts=charts.build_charts(view),
    )


def _filled(comparison: Comparison, pages: Sequence[ModelPage]) -> Comparison:
    """Where the models differ in little, what there is to say of each alone, under its letter.

    Of two versions, what is said of one would be said of the other: the older speaks where none costs more.
    """
    said, known = list(comparison.findings), {finding.text for finding in comparison.findings}
    speakers = range(len(pages))
    if comparison.changes:
        speakers = range(1) if pages[0].profile.totals == pages[1].profile.totals else range(1, 2)
    for i in speakers:
        alone = pages[i].findings if pages[i].profile.totals.complete else ()
        more = [replace(one, models=(i,), text=f"{ascii_uppercase[i]}: {one.text}") for one in alone]
        said += [one for one in more if one.text[3:] not in known][: max(MIN_FINDINGS - len(said), 0)]
    return replace(comparison, findings=tuple(said))


def _asked(profiles: Sequence[Profile]) -> tuple[str, ...]:
    """Inputs, dtype, batch and mode: each once, or one after the other where the models differ."""
    aspects: tuple[Callable[[Profile], str], ...] = (
        lambda profile: f"input {', '.join(profile.inputs) or 'none'}",
        lambda profile: profile.dtype,
        lambda profile: f"batch {profile.batch}",
        lambda profile: f"{profile.mode} pass",
    )
    return tuple("; ".join(dict.fromkeys(map(aspect, profiles))) for aspect in aspects)
