"""`[tool.archprof]` of the nearest pyproject.toml: limits for every model, and the models to check.

[tool.archprof]
max-params = "25M"                  # for every model
[[tool.archprof.check]]
model = "net.py:Net"                # paths are relative to the folder of this file
input = ["3x224x224"]
max-macs = "4.1G"
baseline = "reports/net.json"
tolerance = "1%"
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from archprof.budgets.limits import LIMITABLE_METRICS, Limit, parse_limit, parse_tolerance
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.files import import_toml, read_text

SETTINGS_FILE = "pyproject.toml"

LARGEST_FILE_BYTES = 2**24

LIMIT_KEYS = tuple(f"max-{metric}" for metric in LIMITABLE_METRICS)

SHARED_KEYS = {
    **dict.fromkeys(LIMIT_KEYS, "a text or a whole number"),
    "device": "a text",
    "tolerance": "a text or a number",
    "allow-incomplete": "true or false",
}
"""What `[tool.archprof]` may say of every model, and of which type it is."""

TRACING_KEYS = {
    "input": "a text or a list of texts",
    "batch": "a whole number",
    "dtype": "a text",
    "train": "true or false",
    "causal": "a text",
    "amp": "a text",
    "optimizer": "a text",
    "accumulate": "a whole number",
    "set-to-none": "true or false",
    "checkpoint": "a text or a list of texts",
    "measure": "a text",
}
"""How a model is traced, and where it is measured if its latency has a limit, as on the command line."""

OPTION_NAMES = {"input": "inputs", "set-to-none": "set_to_none"}
"""What those are called in Python that have another name there."""

MODEL_KEYS = {"model": "a text", **TRACING_KEYS, **SHARED_KEYS, "baseline": "a text"}
"""What `[[tool.archprof.check]]` may say of one model."""


@dataclass(frozen=True, slots=True)
class CheckJob:
    """One model to check.

    Attributes:
        model: MODEL, or what else `archprof.profile` takes.
        options: what was said of its pass: "inputs", fields of `PassRequest`, and where to "measure".
        limits: one per metric.
        baseline: path of a saved profile.
        tolerance, allow_incomplete: see `archprof.budgets.verdicts.check_profile`.
        device: whose memory is a limit, too.
    """

    model: Any
    options: dict[str, Any] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    baseline: str | None = None
    tolerance: Fraction = Fraction(0)
    allow_incomplete: bool = False
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a pyproject.toml says: `shared` is a job without a model, whose limits hold for every model."""

    shared: CheckJob = CheckJob(None)
    jobs: tuple[CheckJob, ...] = ()


def read_settings(start: Path) -> Settings:
    """The settings of the nearest pyproject.toml in `start` or above it that has `[tool.archprof]`; else empty ones.

    Raises:
        UsageError: a key or value that means nothing here.
        ArchprofError: the file cannot be read.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        table = _table(folder / SETTINGS_FILE)
        if table is not None:
            return _settings(table, folder)
    return Settings()


def _table(path: Path) -> Any:
    """`[tool.archprof]` of a file, `None` if it has none."""
    try:
        if not path.exists():
            return None
        text = read_text(path, LARGEST_FILE_BYTES)
        tool = import_toml(SETTINGS_FILE).loads(text).get("tool") if "archprof" in text else None
        return tool.get("archprof") if isinstance(tool, dict) else None
    except (OSError, ValueError, RecursionError) as error:  # of which a decoding error of TOML is one
        raise ArchprofError(f"{path} cannot be read: {error}.") from error


def _settings(table: Any, folder: Path) -> Settings:
    where = f"[tool.archprof] of {SETTINGS_FILE}"
    if not isinstance(table, dict) or not _is_tables(table.get("check", [])):
        raise UsageError(f"{where} is not as it should be.", "It is a table, and so is each [[tool.archprof.check]].")
    said = {key: value for key, value in table.items() if key != "check"}
    _expect(said, SHARED_KEYS, where, also=["check"])
    shared = build_job(None, said, CheckJob(None), where=SETTINGS_FILE)
    jobs = []
    for number, own in enumerate(table.get("check", []), 1):
        place = f"[[tool.archprof.check]] number {number} of {SETTINGS_FILE}"
        _expect(own, MODEL_KEYS, place)
        if "model" not in own:
            raise UsageError(f"{place} names no model.", 'It needs one: model = "net.py:Net".')
        jobs.append(_placed(build_job(own["model"], own, shared, where=SETTINGS_FILE), folder))
    return Settings(shared, tuple(jobs))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _expect(table: Mapping[str, Any], kinds: Mapping[str, str], where: str, also: Iterable[str] = ()) -> None:
    """`UsageError` on the first key that is unknown or has a value of another type."""
    for key, value in table.items():
        if key not in kinds:
            raise UnknownName(f"key in {where}", key, [*kinds, *also])
        if not _fits(value, kinds[key]):
            raise UsageError(f"{key} = {value!r} in {where} is of the wrong type.", f"{key} is {kinds[key]}.")


def _fits(value: Any, kind: str) -> bool:
    return {
        "a text": isinstance(value, str),
        "a text or a whole number": isinstance(value, str | int) and not isinstance(value, bool),
        "a text or a number": isinstance(value, str | int | float) and not isinstance(value, bool),
        "a text or a list of texts": isinstance(value, str)
        or (isinstance(value, list) and all(isinstance(item, str) for item in value)),
        "a whole number": isinstance(value, int) and not isinstance(value, bool),
        "true or false": isinstance(value, bool),
    }[kind]


def build_job(model: Any, said: Mapping[str, Any], under: CheckJob, where: str = "") -> CheckJob:
    """One model to check: `said` under `MODEL_KEYS`, and what `under` says where it is silent.

    `where` is put in front of the limits that a reader sees.
    """
    limits = {limit.metric: limit for limit in under.limits}
    for key, value in said.items():
        if key in LIMIT_KEYS:
            source = f"{where}: {key} = {value}" if where else f"{key} {value}"
            metric = key.removeprefix("max-")
            limits[metric] = parse_limit(metric, str(value), source)
    options = {OPTION_NAMES.get(key, key): said[key] for key in TRACING_KEYS if key in said}
    return CheckJob(
        model=model,
        options={**under.options, **options},
        limits=tuple(limits.values()),
        baseline=said.get("baseline", under.baseline),
        tolerance=parse_tolerance(said["tolerance"]) if "tolerance" in said else under.tolerance,
        allow_incomplete=said.get("allow-incomplete", under.allow_incomplete),
        device=said.get("device", under.device),
    )


def _placed(job: CheckJob, folder: Path) -> CheckJob:
    """The job with its paths as they read from the current folder."""
    file, colon, rest = job.model.partition(":")
    is_path = file.endswith((".py", ".json"))
    model = _path(file, folder) + colon + rest if is_path else job.model
    return replace(job, model=model, baseline=job.baseline and _path(job.baseline, folder))


def _path(path: str, folder: Path) -> str:
    return path if folder == Path.cwd() or os.path.isabs(path) else os.path.relpath(folder / path)
