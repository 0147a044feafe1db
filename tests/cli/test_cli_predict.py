"""`archprof predict` as a command: every format, a saved profile without torch, errors."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import Command, Process


def test_the_question_of_the_guide(command: Command) -> None:
    words = ("predict", "resnet18", "--device", "t4,l4,a100,4090,h100", "--batch", "1,32", "--amp", "float16")
    result = command(*words, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["predictions"]
    assert [(one["device"].split()[1], one["batch"]) for one in found] == [
        (name, batch) for name in ("T4", "L4", "A100", "GeForce", "H100") for batch in (1, 32)
    ]
    for one in found:
        assert one["autocast"] == "float16"
        assert one["mode"] == "forward"
        assert one["eager"] is True
        assert one["latency_seconds"]["low"] <= one["latency_seconds"]["p50"] <= one["latency_seconds"]["high"]
        rows = [row["latency_seconds"]["p50"] for row in (*one["layers"], *one["rest"])]
        assert abs(sum(rows) - one["latency_seconds"]["p50"]) < 1e-9
        assert {row["bound"] for row in one["layers"]} <= {"arithmetic", "memory", "launch"}


def test_every_format(command: Command, saved: Path) -> None:
    words = ("predict", str(saved), "--device", "t4,h100", "--price", "1.2")
    assert "Predicted latency of vgg16" in command(*words).stdout
    rows = list(csv.DictReader(io.StringIO(command(*words, "--format", "csv").stdout)))
    assert [row["device"] for row in rows] == ["NVIDIA T4", "NVIDIA H100 SXM5 80GB"]
    assert all(float(row["low"]) < float(row["predicted"]) < float(row["high"]) for row in rows)
    assert float(rows[0]["cost"]) > 0
    assert "| NVIDIA T4" in command(*words, "--format", "md").stdout
    assert r"\begin{" in command(*words, "--format", "latex").stdout
    by_kind = list(csv.DictReader(io.StringIO(command(*words, "--by", "kind", "--format", "csv").stdout)))
    assert {row["kind"] for row in by_kind} >= {"Conv2d", "Linear"}
    (first, _) = json.loads(command(*words, "--by", "kind", "--format", "json").stdout)["predictions"]
    assert sum(row["predicted"] for row in first["kinds"]) == pytest.approx(first["latency_seconds"]["p50"])


def test_text_fits_a_terminal(command: Command, saved: Path) -> None:
    result = command("predict", str(saved), "--device", "t4", env={"COLUMNS": "80"})
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "vgg16 by layer on NVIDIA T4, batch 1, float32" in result.stdout
    assert all(word in result.stdout for word in ("Predicted", "Low", "High", "Limit", "Standing"))


def test_a_saved_profile_needs_no_torch(process: Process, saved: Path, without_torch: dict[str, str]) -> None:
    done = process("predict", str(saved), "--device", "t4,h100", "--by", "kind", env=without_torch)
    assert done.returncode == 0, done.stderr
    assert "Conv2d" in done.stdout


def test_a_calibration_is_a_device(command: Command, saved: Path, here: Path) -> None:
    rate = {"p50": 1e14, "low": 9e13, "high": 1.1e14}
    found = {
        "name": "NVIDIA T4", "device": "cuda", "copy_bytes_per_second": {**rate, "p50": 2.5e11},
        "matmul_flop_per_second": {"float32": {**rate, "p50": 5e12}}, "launch_seconds": {**rate, "p50": 5e-6},
    }  # fmt: skip
    (here / "t4.json").write_text(json.dumps(found))
    (one,) = json.loads(command("predict", str(saved), "--device", "t4.json", "--format", "json").stdout)["predictions"]
    assert one["standing"] == "calibrated"


def test_what_cannot_be_predicted_is_told(command: Command, saved: Path) -> None:
    missing = command("predict", "vgg16")
    assert missing.exit_code == 2
    unknown = command("predict", str(saved), "--device", "t4,rtx4095")
    assert unknown.exit_code == 2
    assert "RTX 4090" in unknown.stderr
    for words in (("--price", "cheap"), ("--batch", "1,x"), ("--by", "op"), ("--price", "1,2,3")):
        result = command("predict", str(saved), "--device", "t4", *words)
        assert result.exit_code == 2, words
        assert "Traceback" not in result.output


def test_measurements_that_are_none_are_refused(command: Command, saved: Path) -> None:
    result = command("predict", str(saved), "--device", "t4", "--measured", str(saved))
    assert result.exit_code == 2
    assert "holds no measurement" in result.stderr


def test_the_options_of_a_run_are_in_the_answer(command: Command, saved: Path) -> None:
    words = ("--captured", "--compile", "--channels-last", "--tf32", "--format", "json")
    (one,) = json.loads(command("predict", str(saved), "--device", "t4", *words).stdout)["predictions"]
    assert (one["eager"], one["compiled"], one["channels_last"]) == (False, True, True)
    assert one["tf32"] == {"matmul": True, "convolution": True}


def test_table_compare_and_graph_of_saved_profiles_need_no_torch(
    process: Process, saved: Path, without_torch: dict[str, str]
) -> None:
    for words in (("table", str(saved)), ("compare", str(saved), str(saved)), ("graph", str(saved))):
        done = process(*words, "--device", "t4", env=without_torch)
        assert done.returncode == 0, done.stderr
        assert "redicted" in done.stdout
