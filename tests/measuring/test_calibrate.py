"""Roofs, measured on a device whose clock is played; and the command where there is no GPU."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from fake_gpu import FakeGpu
from typer.testing import CliRunner

from archprof.cli import app
from archprof.cli.calibrate import describe_calibration, make_slug
from archprof.facts.ran import Ran
from archprof.measuring import calibrate
from archprof.measuring.calibrate import Calibration, Rate, measure_mark_seconds, measure_rate
from archprof.measuring.cuda import CudaDevice


class Played:
    """A device on which work takes the seconds that the test adds to `time`."""

    kind, name, raises_when_full = "cpu", "Played 9000", True

    def __init__(self) -> None:
        self.time = 0.0
        self.marks = 0

    def clock(self) -> Played:
        return self

    def mark(self) -> float:
        self.marks += 1
        self.time += 1e-7
        return self.time

    def settle(self) -> None:
        pass

    def seconds(self, start: float, end: float) -> float:
        return end - start - 1e-7

    def synchronize(self) -> None:
        pass

    def hold_settings(self) -> Any:
        return nullcontext()

    def free_bytes(self) -> int:
        return 4 * 2**20

    def environment(self) -> Ran:
        return Ran(details={"played": "yes"})


@pytest.fixture
def played() -> Played:
    return Played()


def test_a_rate_is_the_median_of_rounds_after_a_warm_up(played):
    took: list[float] = []

    def work() -> None:
        took.append(0.004 if played.time < 0.5 else 0.002)  # the clock ramps up
        played.time += took[-1]

    found = measure_rate(played, work, 10)
    assert (found.p50, found.low, found.high) == pytest.approx((5000, 5000, 5000), rel=1e-6)
    assert took.count(0.002) >= 7 * math.ceil(0.1 / 0.004)


def test_low_and_high_are_the_least_and_the_greatest_round(played):
    lengths = iter([0.11] * 9 + [0.11, 0.2, 0.05, 0.11, 0.11, 0.11, 0.11])  # 4 for once, 5 to warm up, 7 rounds

    def work() -> None:
        played.time += next(lengths)

    found = measure_rate(played, work, 1)
    assert (found.p50, found.low, found.high) == pytest.approx((1 / 0.11, 5, 20), rel=1e-5)


def test_matrices_grow_until_a_product_is_long_enough(played, monkeypatch):
    """A device of 1 TFLOP/s: 2 n^3 / 1e12 is 5 ms from n = 1358 on, so 2048."""
    monkeypatch.setattr(torch, "randn", lambda rows, columns, **_: torch.empty(rows, columns, device="meta"))

    def mm(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
        played.time += 2 * a.shape[0] ** 3 / 1e12

    monkeypatch.setattr(torch, "mm", mm)
    size, found = calibrate._measure_product(played, "float32")
    assert size == 2048
    assert found.p50 == pytest.approx(1e12, rel=1e-4)


def test_a_dtype_without_a_product_is_left_out(played, monkeypatch):
    def refuses(*_: Any, **__: Any) -> None:
        raise RuntimeError("\"addmm_impl\" not implemented for 'Half'")

    monkeypatch.setattr(torch, "randn", refuses)
    assert calibrate._measure_product(played, "float16") is None


def test_a_copy_counts_what_is_read_and_what_is_written(played, monkeypatch):
    amounts: list[float] = []
    monkeypatch.setattr(calibrate, "measure_rate", lambda where, work, amount: amounts.append(amount))
    calibrate._measure_copy(played)
    assert amounts == [2 * 2**20]  # a quarter of the free 4 MiB, both ways


def test_a_mark_on_a_gpu_is_timed_in_a_graph():
    gpu = FakeGpu(record=3000, event_cost=1500)
    assert measure_mark_seconds(CudaDevice(gpu)) == pytest.approx(1.5e-6)
    assert gpu.captures == 1


def test_a_mark_elsewhere_is_timed_as_it_is_made(played):
    assert measure_mark_seconds(played) == pytest.approx(0.0, abs=1e-12)


FOUND = Calibration(
    "cuda",
    "NVIDIA H200",
    Rate(4.3e12, 4.2e12, 4.31e12),
    {"bfloat16": Rate(7.88e14, 7.8e14, 7.9e14)},
    {"bfloat16": 8192},
    Rate(4e-6, 3.5e-6, 5e-6),
    1.5e-6,
    Ran("cuda", "NVIDIA H200", details={"driver": "580"}),
)


def test_what_was_found_is_shown_with_its_range():
    assert list(describe_calibration(FOUND)) == [
        "NVIDIA H200",
        "  copy                     4.30 TB/s  [4.20 TB/s, 4.31 TB/s]",
        "  bfloat16 product    788.00 TFLOP/s  [780.00 TFLOP/s, 790.00 TFLOP/s]  8192 wide",
        "  launch                     4.00 us  [3.50 us, 5.00 us]",
        "  mark                       1.50 us",
    ]


def test_a_calibration_is_written_as_plain_numbers(tmp_path, monkeypatch, played):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("archprof.measuring.cuda.CudaDevice", lambda: played)
    monkeypatch.setattr(calibrate, "calibrate_device", lambda where: FOUND)
    result = CliRunner().invoke(app, ["calibrate"])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "reports/devices/played-9000.json").read_text())
    assert written["schema"] == 1
    assert written["matmul_flop_per_second"] == {"bfloat16": {"p50": 7.88e14, "low": 7.8e14, "high": 7.9e14}}
    assert written["copy_bytes_per_second"]["p50"] == 4.3e12
    assert (written["launch_seconds"]["p50"], written["mark_seconds"]) == (4e-6, 1.5e-6)


def test_without_a_gpu_the_command_says_what_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(app, ["calibrate"])
    assert result.exit_code == 1
    assert "There is no GPU to measure on" in result.stderr
    assert "--cpu" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_found_first(tmp_path):
    result = CliRunner().invoke(app, ["calibrate", "-o", str(tmp_path / "no" / "where.json")])
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel-r-xeon-r-cpu-2-20ghz"),
    ],
)
def test_files_are_named_after_the_device(name, file):
    assert make_slug(name) == file
