"""`archprof check` without its words: which models, under which limits, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archprof import files
from archprof.budgets import pyproject, verdicts
from archprof.budgets.limits import LATENCY_KEY, LIMITABLE_METRICS, limit_to_device
from archprof.budgets.pyproject import CheckJob
from archprof.budgets.verdicts import Verdict
from archprof.errors import TraceError, UnknownName, UsageError
from archprof.facts import store
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, MeasureRequest, PassRequest
from archprof.measuring.profiles import count_or_measure


def check_models(
    models: Sequence[Any] = (),
    limits: Mapping[str, str | int | None] | None = None,
    *,
    baseline: str | None = None,
    tolerance: str | float | None = None,
    allow_incomplete: bool | None = None,
    inputs: Any = None,
    request: PassRequest = PLAIN_PASS,
    how: MeasureRequest | None = None,
    device: str | None = None,
    folder: str | Path = ".",
) -> tuple[Verdict, ...]:
    """Trace each model and hold it against its limits: one verdict per model, in order.

    Without models, those that pyproject.toml lists are checked. What is said here goes before what pyproject.toml says
    of a model it lists, and that before what it says of all models.

    Args:
        models: what `archprof.profile` takes.
        limits: the most by metric, such as {"max_params": "25M", "max_peak": "200MiB"}; `None`: no limit.
        baseline: a saved profile of the same pass; with one model only.
        tolerance: share by which the baseline may be exceeded: "1%", "0.01" or 0.01.
        allow_incomplete: a value that is a lower bound, and under its limit, passes; `None`: as pyproject.toml says.
        inputs: see `archprof.profile`.
        request: of the pass; what differs from the default in it was said.
        how: to measure a model whose latency has a limit.
        device: of the catalogue, whose memory is a limit, too, and on which a limited latency is predicted, unless it
            is to be measured.
        folder: where to look for pyproject.toml, and above it.

    Raises:
        UsageError: a limit, tolerance or setting cannot be read, or there is nothing to check.
        ArchprofError: a model cannot be traced.
    """
    options = {"input": inputs, **request.list_changes(), "measure": how and how.device}
    options = {key.replace("_", "-"): value for key, value in options.items()} | {"device": device}
    said = _drop_missing(
        {**options, "baseline": baseline, "tolerance": tolerance, "allow-incomplete": allow_incomplete}
    )
    jobs = _build_jobs(models, said | _read_limits(limits or {}), pyproject.read_settings(Path(folder)))
    jobs = [
        replace(job, limits=limit_to_device(job.limits, job.device, predicts=_predicts_latency(job))) for job in jobs
    ]
    for job in jobs:
        _refuse_unanswerable(job)
    return tuple([_reach_verdict(job) for job in jobs])


def _refuse_unanswerable(job: CheckJob) -> None:
    """`UsageError` where nothing is to be checked, or nothing says how long the model takes; before any work starts."""
    if not job.limits and job.baseline is None:
        raise UsageError(f"There is nothing to check {_name_model(job)} against.", "Give a limit or a baseline.")
    if _limits_latency(job) and "measure" not in job.options and not _is_saved(job) and not _predicts_latency(job):
        raise UsageError(
            f"A limit of latency needs a measured profile, and {_name_model(job)} is only counted.",
            "It can be measured on the CPU or on a GPU, or predicted on a device.",
            "Add --measure cpu, --cuda or --device t4, or name a profile saved with it.",
        )


def hold_by_settings(profile: Profile, folder: str | Path = ".") -> tuple[Verdict, ...]:
    """A profile against the limits that pyproject.toml sets its model, or all models; none where it sets none."""
    found = pyproject.read_settings(Path(folder))
    listed = [job for job in found.jobs if job.model == profile.model] or [found.shared]
    held = [[limit for limit in job.limits if limit.metric != LATENCY_KEY or profile.measurement] for job in listed]
    return tuple(
        verdicts.check_profile(profile, limits, allow_incomplete=job.allow_incomplete)
        for job, limits in zip(listed, held, strict=True)
        if limits
    )


def _drop_missing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _name_model(job: CheckJob) -> str:
    return job.model if isinstance(job.model, str) else type(job.model).__name__


def _read_limits(limits: Mapping[str, str | int | None]) -> dict[str, Any]:
    """The limits that were given, by their keys in pyproject.toml."""
    keys = {name.replace("_", "-"): most for name, most in limits.items()}
    for key in keys:
        if key not in pyproject.LIMIT_KEYS:
            raise UnknownName("limit", key, pyproject.LIMIT_KEYS)
    return _drop_missing(keys)


def _build_jobs(models: Sequence[Any], said: dict[str, Any], found: pyproject.Settings) -> list[CheckJob]:
    """What to check; `UsageError` if that is nothing."""
    if not models:
        return [pyproject.build_job(job.model, said, job) for job in _take_listed(said, found)]
    if "baseline" in said and len(models) > 1:
        raise UsageError(f"One baseline was given for {len(models)} models.", "A baseline is of one model.")
    jobs: list[CheckJob] = []
    for model in models:
        listed = [job for job in found.jobs if isinstance(model, str) and job.model == model]
        jobs += [pyproject.build_job(model, said, under) for under in listed or [found.shared]]
    return jobs


def _take_listed(said: dict[str, Any], found: pyproject.Settings) -> tuple[CheckJob, ...]:
    """The models of pyproject.toml; limits may go before theirs, but how they are traced stands there."""
    if not found.jobs:
        raise UsageError(
            "No model was named, and no pyproject.toml here or above lists one.",
            "Name a MODEL, or list it:",
            '[[tool.archprof.check]]\nmodel = "net.py:Net"\nmax-params = "25M"',
        )
    if loose := [key for key in said if key in (*pyproject.TRACING_KEYS, "baseline")]:
        raise UsageError(
            f"{', '.join(loose)} was given without a model.", "The models of pyproject.toml have theirs there."
        )
    return found.jobs


def _limits_latency(job: CheckJob) -> bool:
    return any(limit.metric == LATENCY_KEY for limit in job.limits)


def _predicts_latency(job: CheckJob) -> bool:
    """Its latency is that predicted on its device: one is named, and nothing is to be measured."""
    return _limits_latency(job) and job.device is not None and "measure" not in job.options


def _is_saved(job: CheckJob) -> bool:
    return files.is_profile_path(job.model)


def _reach_verdict(job: CheckJob) -> Verdict:
    """One model, traced, measured if its latency has a limit, and held against its limits."""
    baseline = None if job.baseline is None else store.load(job.baseline)
    options = {"inputs": None, "measure": None, **job.options}
    inputs, device = options.pop("inputs"), options.pop("measure")
    predicts = _predicts_latency(job)
    how = MeasureRequest(device) if _limits_latency(job) and not _is_saved(job) and not predicts else None
    try:
        profile = count_or_measure(job.model, inputs, PassRequest(**options), how, job.device if predicts else None)
    except TraceError as error:
        if baseline is not None or not all(LIMITABLE_METRICS[limit.metric].bound == "unsized" for limit in job.limits):
            raise
        profile = error.profile  # what modules hold is known before anything runs
    if how is not None and profile.measurement is not None and profile.measurement.interrupted:
        raise KeyboardInterrupt  # half a measurement is no verdict
    return verdicts.check_profile(profile, job.limits, baseline, job.tolerance, allow_incomplete=job.allow_incomplete)
