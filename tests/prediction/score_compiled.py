"""Scores compiled passes, of which none is fitted on: `python tests/prediction/score_compiled.py [EVERY]`.

Those of NeuSight on an A100, and every EVERY-th of timm's models on a CPU, one image each, which is a bound.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import archprof
from archprof.facts.predicted import LatencyPrediction
from archprof.predicting.devices import resolve_device
from archprof.predicting.latency import predict_latency
from prediction.latency_rows import DEVICES, read_csv
from prediction.score_latency import correlate_ranks
from prediction.trace_latency import NEUSIGHT_MODELS, _tokens

CPU = "Intel Core i9-10940X"


class Scored(NamedTuple):
    """A compiled pass: what was measured, in seconds, and what is predicted of it."""

    name: str
    measured: float
    found: LatencyPrediction


def list_fused() -> Iterator[Scored]:
    """BERT and GPT-2 in float32."""
    for row in read_csv("neusight_e2e.csv"):
        if row["variant"] == "fusion":
            tokens = _tokens(int(row["batch"]), int(row["seq"]))
            profile = archprof.profile(NEUSIGHT_MODELS[row["config"]](), (tokens,))
            found = predict_latency(profile, resolve_device(DEVICES[row["device"]]), compiled=True)
            yield Scored(f"{row['config']}, batch {row['batch']}", float(row["ms_end_to_end"]) / 1e3, found)


def list_on_a_cpu(every: int) -> Iterator[Scored]:
    """timm's models with torch 2.4, in the order of the file."""
    rows = [row for row in read_csv("timm_cpu.csv.gz") if row["torch"] == "pt240"]
    for row in rows[::every]:
        profile = archprof.profile(row["model"], [f"3x{row['image']}x{row['image']}"])
        found = predict_latency(profile, resolve_device(CPU), compiled=True)
        yield Scored(row["model"], float(row["ms_step"]) / 1e3, found)


def main(words: list[str]) -> None:
    for one in list_fused():
        held = "in" if one.found.whole.low <= one.measured <= one.found.whole.high else "outside"
        print(f"{one.name}: {100 * (one.found.whole.p50 / one.measured - 1):+.1f} %, {held} its interval")
    scored = list(list_on_a_cpu(int(words[0]) if words else 32))
    measured, middle, low, high = np.array([(one.measured, *one.found.whole) for one in scored]).T
    above, inside = np.sum(low <= measured), np.sum((low <= measured) & (measured <= high))
    print(
        f"{CPU}: {len(scored)} models, {100 * (np.median(middle / measured) - 1):+.1f} % at the median, low below "
        f"the measured in {above}, inside {inside}, rank {correlate_ranks(middle, measured):.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
