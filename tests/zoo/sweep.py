"""Every architecture of timm, torchvision and transformers: traced on meta, and counted again by torch's counter.

    python tests/zoo/sweep.py sweep.csv                      all of them, two processes; ends where it was stopped
    python tests/zoo/sweep.py sweep.csv --zoo timm --jobs 4
    python tests/zoo/sweep.py sweep.csv --summary            only the summary of what is there

One row per model is written as it is done, so that the run can be stopped and started again: models that have a row are
not run again. timm and torchvision models get their own default input. transformers models are built from the
defaults of their configuration class, with two layers where the class counts them: more would only repeat them.
Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from zoo.agreement import with_torch
from zoo.row_files import read_rows, write_rows

from archprof.errors import ArchprofError
from archprof.sources import timm_zoo, torchvision_zoo
from archprof.sources.hf import configs, library
from archprof.sources.resolve import resolve
from archprof.sources.target import Target
from archprof.tracing.trace import trace

ZOOS = ("timm", "torchvision", "transformers")
SECONDS = 120
"""Time that one model may take, the oracle with it."""

NO_FORWARD = "its class has no forward"
ROTARY = "its default widths and rotary sections do not fit each other"
NO_ATTENTION = "its default has no attention layer, and its forward asks the cache of one"
WIDTHS = "its default widths do not fit each other"
UNUSABLE = {
    **dict.fromkeys(("hf:bark", "hf:qwen2_5_omni", "hf:glm_image_vqmodel"), NO_FORWARD),
    **dict.fromkeys(
        ("hf:glm46v", "hf:glm4v", "hf:glm4v_text", "hf:glm4v_moe", "hf:glm4v_moe_text", "hf:glm_image", "hf:glmga",
         "hf:glm_image_text"),
        ROTARY,
    ),
    **dict.fromkeys(("hf:bamba", "hf:granitemoehybrid"), NO_ATTENTION),
    **dict.fromkeys(
        ("hf:edgetam", "hf:edgetam_vision_model", "hf:uvdoc", "hf:pp_ocrv6_small_det", "hf:qwen3_omni_moe_thinker"),
        WIDTHS,
    ),
    "hf:blip-2": "its default names no token that stands for an image, and its forward asks for images",
    "hf:blt": "its forward reads an attribute that its configuration lacks",
    "hf:deepseek_v2": "its default says no number of experts for a token",
    "hf:lw_detr": "its default names no feature map",
    "hf:step3p7": "its default lacks the sliding window of its layers",
    "hf:voxtral_realtime_text": "the library maps it to a class that it does not export",
}  # fmt: skip
"""Default configurations of transformers 5.23 that its own forward cannot run, on any input: seen without archprof."""


@dataclass
class Row:
    """What came of one model.

    Attributes:
        model: as `archprof table` takes it.
        how: "meta", "cpu" (fell back), "failed", or "unusable": its library cannot build or run its own defaults.
        why: of a fall-back or failure, in the words of the note or error.
        unknown: ops without a cost rule.
        params, macs: ours; `torch_macs` is the oracle's, empty where it could not run, `agreement` says why in words.
        agreement: "equal", "explained: …" with the ops that torch does not count, "unexplained: …", or "no oracle: …".
        seconds: to build and trace it.
    """

    model: str
    how: str = "failed"
    why: str = ""
    unknown: str = ""
    params: int | None = None
    macs: int | None = None
    torch_macs: int | None = None
    agreement: str = ""
    seconds: float = 0.0


def names(zoos: Iterable[str]) -> list[str]:
    """Every model of these zoos, as `archprof table` takes it."""
    listed = {
        "timm": lambda: [f"timm:{name}" for name in timm_zoo.list_timm_names()],
        "torchvision": lambda: [f"torchvision:{name}" for name in torchvision_zoo.list_torchvision_names()],
        "transformers": lambda: [
            f"hf:{name}" for name in [*configs.load_ready_configs(), *configs.list_buildable_types()]
        ],
    }
    return [name for zoo in zoos for name in listed[zoo]()]


def run(model: str) -> Row:
    """One model; whatever happens is in its row."""
    return run_model(Row(model), _trace)


def run_model(row: Any, work: Callable[[Target, Any, float], None]) -> Any:
    """Build the model of a row and work on it, given the row and when it began; whatever happens is in the row."""
    start = time.perf_counter()
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(SECONDS)
    try:
        _build_and_work(row, work, start)
    except Exception as error:
        row.why = words_of(error)
        hf = row.model.startswith("hf:") and not _builds_alone(row.model.removeprefix("hf:"))
        if row.how == "failed" and (row.model in UNUSABLE or hf):
            row.how, row.why = "unusable", UNUSABLE.get(row.model, row.why)
    finally:
        signal.alarm(0)
    row.seconds = row.seconds or round(time.perf_counter() - start, 2)
    return row


def _build_and_work(row: Any, work: Callable[[Target, Any, float], None], start: float) -> None:
    """A transformers type with two layers first; ready names, all else, and what two layers do not do for, whole."""
    name = row.model.removeprefix("hf:")
    if name != row.model and name not in configs.load_ready_configs():
        try:
            work(resolve(f"{row.model}(num_hidden_layers=2)"), row, start)
            return
        except ArchprofError:  # no such argument, or the kinds of its layers are a list
            pass
    work(resolve(row.model), row, start)


def _out_of_time(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def _builds_alone(name: str) -> bool:
    """Whether transformers builds this type without us, on meta."""
    import torch

    try:
        choice = configs.choose_config(name, {})
        with library.quiet_and_offline(), torch.device("meta"):
            choice.architecture(choice.config)
    except Exception:
        return False
    return True


def _trace(target: Target, row: Row, start: float) -> None:
    profile = trace(target)
    profile.check()
    row.how = profile.ran.device
    row.why = " ".join(profile.notes) if row.how == "cpu" else ""
    row.unknown = "; ".join(sorted({op.name for op in profile.ops if op.status == "unknown"}))
    row.params, row.macs = profile.totals.params, profile.totals.macs
    row.seconds = round(time.perf_counter() - start, 2)
    if row.how == "cpu":
        row.agreement = "no oracle: it does not run on meta"
        return
    try:
        agreement = with_torch(target, profile)
    except Exception as error:
        row.agreement = f"no oracle: {words_of(error)}"
        return
    row.torch_macs = agreement.torch
    row.agreement = ("explained: " if agreement.holds else "") + agreement.words() or "equal"
    if agreement.holds and not agreement.explained:
        row.agreement = "equal"


def words_of(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def summary(rows: list[Row]) -> str:
    """Counts by zoo, and every model that did not run on meta and agree."""
    lines = []
    for zoo, prefix in zip(ZOOS, ("timm:", "torchvision:", "hf:"), strict=True):
        mine = [row for row in rows if row.model.startswith(prefix)]
        tried = [row for row in mine if row.how != "unusable"]
        if not tried:
            continue
        how = Counter(row.how for row in mine)
        said = Counter((row.agreement or "").partition(":")[0] for row in tried if row.how == "meta")
        lines += [
            f"{zoo}: {len(tried)} tried, {how['meta']} traced on meta, {how['cpu']} fell back, {how['failed']} failed; "
            f"{how['unusable']} whose defaults the library itself cannot build or run",
            f"  of those on meta: {said['equal']} equal to torch's count, {said['explained']} explained by name, "
            f"{said['unexplained']} unexplained, {said['no oracle']} without an oracle; "
            f"{sum(bool(row.unknown) for row in tried)} with unknown ops",
        ]
        lines += [f"  {row.model}: {row.how}: {row.why}" for row in mine if row.how != "meta"]
        lines += [
            f"  {row.model}: {row.agreement}"
            for row in tried
            if row.how == "meta" and (row.agreement or "").startswith(("unexplained", "no oracle"))
        ]
        lines += [f"  {row.model}: unknown: {row.unknown}" for row in tried if row.unknown]
    return "\n".join(lines) + "\n"


def main(run: Callable[[str], Any] = run, row_type: Any = Row, summary: Callable[[Any], str] = summary) -> None:
    parser = argparse.ArgumentParser(description="Run every architecture of the zoos, a row for each.")
    parser.add_argument("csv", type=Path, help="where the rows are, and new ones go")
    parser.add_argument("--zoo", choices=ZOOS, action="append", help="one or more; all if not given")
    parser.add_argument("--only", help="models whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="each n-th model only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    asked = parser.parse_args()
    if not asked.summary:
        models = [name for name in names(asked.zoo or ZOOS) if (asked.only or "") in name][:: asked.every]
        write_rows(models, asked.csv, asked.jobs, run, row_type)
    sys.stdout.write(summary(read_rows(asked.csv, row_type)))


if __name__ == "__main__":
    main()
