"""`check --max-latency --device`: a predicted time as a budget, under its own name."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import pytest
from typer.testing import CliRunner

import archprof
from archprof.budgets.limits import limit_to_device, parse_limit
from archprof.cli import app
from archprof.predicting.devices import resolve_device
from archprof.predicting.memory_capacity import find_capacity


def test_a_predicted_time_is_held_against_its_limit() -> None:
    predicted = archprof.predict("lenet5", device="t4", batch=64).predictions[0].whole
    (verdict,) = archprof.check("lenet5", device="t4", batch=64, max_latency="1s")
    latency, memory = verdict.checks
    assert verdict.ok
    assert (latency.word, latency.limit.device) == ("predicted latency", "NVIDIA T4")
    assert (latency.value, latency.low, latency.high) == tuple(predicted)
    assert memory.limit.most == find_capacity(resolve_device("t4"))
    assert any("Predicted, not measured, on NVIDIA T4" in note for note in verdict.notes)


def test_a_limit_inside_the_interval_is_too_close_to_say() -> None:
    predicted = archprof.predict("lenet5", device="t4", batch=64).predictions[0].whole
    between = f"{(predicted.p50 + predicted.high) / 2 * 1e6}us"
    (verdict,) = archprof.check("lenet5", device="t4", batch=64, max_latency=between)
    assert verdict.checks[0].is_close
    assert "too close to say" in str(verdict.table)
    below = f"{predicted.low * 0.5 * 1e6}us"
    (broken,) = archprof.check("lenet5", device="t4", batch=64, max_latency=below)
    assert not broken.ok
    assert broken.checks[0].largest_layers
    assert sum(value for _, value in broken.checks[0].largest_layers) <= predicted.p50


def test_without_a_device_a_latency_has_to_be_measured() -> None:
    with pytest.raises(archprof.UsageError, match="needs a measured profile") as told:
        archprof.check("lenet5", max_latency="5ms")
    assert "--device t4" in told.value.hint


def test_a_saved_profile_is_predicted_and_its_measurement_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    builders.measured().save(path)
    measured = archprof.check(str(path), max_latency="1s")[0].checks[0]
    predicted = archprof.check(str(path), max_latency="1s", device="t4")[0].checks[0]
    assert (measured.word, predicted.word) == ("latency", "predicted latency")
    assert measured.value != predicted.value


def test_limits_of_a_device() -> None:
    limits = [parse_limit("latency", "5ms", "--max-latency 5ms")]
    latency, memory = limit_to_device(limits, "a100", predicts=True)
    assert latency.device == memory.device == "NVIDIA A100 SXM4 40GB"
    assert latency.source == "--max-latency 5ms, device a100"
    (alone,) = limit_to_device(limits, "EPYC 7763", predicts=True)  # of whose memory nothing is known
    assert alone.metric == "latency"
    with pytest.raises(archprof.UsageError, match="names 4 devices"):
        limit_to_device(limits, "a100")  # how much memory is meant?


def test_in_json_and_by_exit_code() -> None:
    result = CliRunner().invoke(app, ["check", "lenet5", "--max-latency", "1ns", "--device", "t4", "--format", "json"])
    assert result.exit_code == 3
    latency, memory = json.loads(result.stdout)["verdicts"][0]["checks"]
    assert latency["predicted_on"] == "NVIDIA T4"
    assert "predicted_on" not in memory
    assert latency["low"] < latency["value"] < latency["high"]


def test_settings_name_the_device(tmp_path: Path) -> None:
    lines = ["[[tool.archprof.check]]", 'model = "lenet5"', 'device = "t4"', 'max-latency = "1s"']
    (tmp_path / "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")
    (verdict,) = archprof.check(folder=tmp_path)
    assert verdict.ok
    assert verdict.checks[0].limit.predicts_latency
