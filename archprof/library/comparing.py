"""Several models beside each other, on a page, against budgets, and a model beside what it could be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archprof import files
from archprof.facts.request import PassRequest, request_measurement

if TYPE_CHECKING:
    from archprof.analysis.compare.comparison import Comparison
    from archprof.budgets.verdicts import Verdict
    from archprof.rewriting import Rewritten


def compare(
    *models: Any, inputs: Any = None, by: str = "auto",
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False, device: str | None = None,
) -> Comparison:  # fmt: skip
    """Architectures side by side: a summary with ratios to the first, what is worth saying, and aligned rows.

    Args:
        models: two or more: profiles, or what `profile` takes, with the other keywords as for `table`.
        by: "path" aligns layers by name, "stage" by spatial size, "auto" by name where the models share a family.

    Raises:
        UsageError: fewer than two models, or what `table` raises.
    """
    from archprof.analysis.compare import comparison
    from archprof.measuring.profiles import profile_several

    comparison.validate_comparison(len(models), by=by)
    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    return comparison.compare(profile_several(models, inputs, request, how, device), by=by)


def report(
    models: Any, path: str | Path, *, inputs: Any = None,
    title: str | None = None, date: str | None = None, baseline: Any = None,
    plotly: bool | Literal["gzip", "inline", "none"] = False, device: str | None = None,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False,
) -> None:  # fmt: skip
    """Write one self-contained HTML page about one model, or several side by side.

    Args:
        models: one or a list of: profiles, or what `profile` takes; see `compare`. Or the folder of a run of `train`,
            or a file of `sweep`.
        path, title: of the file, which is written whole or not at all; of the page, left out: the names of the models.
        date: of the page; left out: of the newest commit of the files that the models are named by, if there is one.
        baseline: what the one model was before, as `models`: the page shows what changed.
        plotly: add plotly to the drawn pictures: `True` or "gzip" packed (2 MB), "inline" as it is (5 MB).
        device: what they take and need there, as for `table`, and its roof.
    """
    from archprof.analysis.report import page
    from archprof.facts.swept_files import is_swept_path
    from archprof.measuring.profiles import profile_several
    from archprof.render.page import html, run_page, swept_page
    from archprof.sources.provenance import trace_sources
    from archprof.sweeping.trials import try_rewrites

    if is_swept_path(models):
        files.write_whole(path, swept_page.render_swept(models, title))
        return
    if files.is_run_path(models):
        files.write_whole(path, run_page.render_run(models, title))
        return
    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    several = list_several(models) if baseline is None else [baseline, *list_several(models)]
    date, sources = trace_sources(several, date)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    profiles = profile_several(several, inputs, request, how)
    tried = try_rewrites(several, inputs, profiles, request)
    facts = page.build_report(profiles, title=title, device=device, tried=tried, date=date, sources=sources)
    files.write_whole(path, html.render_page(facts, plotly=plotly))


def check(
    models: Any = (), *, inputs: Any = None,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    optimizer: str | None = None, accumulate: int = 1, set_to_none: bool = True, checkpoint: Sequence[str] = (),
    baseline: str | None = None, tolerance: str | float | None = None, allow_incomplete: bool | None = None,
    measure: str | None = None, device: str | None = None, folder: str | Path = ".", **limits: str | int | None,
) -> tuple[Verdict, ...]:  # fmt: skip
    """Hold models against budgets or a baseline: one verdict per model, in order; more is what `check_models` says.

    Args:
        models: one or a list of what `profile` takes, with its keywords; none: those that pyproject.toml lists.
        measure: where to measure a model whose latency has a limit: "cpu" or "cuda".
        device: a GPU of the catalogue, whose memory is the most that may be used, as with max_memory.
        limits: max_params, max_macs, max_flops, max_activation, max_peak, max_memory, max_latency: "25M", "5ms".
    """
    from archprof.budgets.checks import check_models

    request = PassRequest(
        batch, dtype, train, causal, None, None, None, optimizer, accumulate, set_to_none, amp, checkpoint=checkpoint
    )
    return check_models(
        list_several(models), limits, inputs=inputs, request=request, how=request_measurement(measure),
        baseline=baseline, tolerance=tolerance, allow_incomplete=allow_incomplete, device=device, folder=folder,
    )  # fmt: skip


def whatif(
    model: Any, inputs: Any = None, *, batch: int = 1, dtype: str | None = None, amp: str | None = None,
    stack3x3: bool = False, middle: int | None = None, add_bn: bool = False, residual: bool = False,
    separable: bool = False, no_fc: bool = False, width: float | None = None, num_classes: int | None = None,
) -> Rewritten:  # fmt: skip
    """Rewrite a copy of a model and say what that costs: `before` and `after` are profiles; the model is only read.

    The rewrites, and what it raises, are those of `archprof.rewriting.whatif`, which applies them in this order.
    """
    from archprof import rewriting

    return rewriting.whatif(
        model, inputs, PassRequest(batch, dtype, amp=amp), stack3x3=stack3x3, middle=middle, add_bn=add_bn,
        residual=residual, separable=separable, no_fc=no_fc, width=width, num_classes=num_classes,
    )  # fmt: skip


def list_several(models: Any) -> list[Any]:
    """One model or several, as several."""
    return [*models] if isinstance(models, list | tuple) else [models]
