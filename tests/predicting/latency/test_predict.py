"""Predicted passes: rows and whole, bounds, intervals, calibrations, measurements; and that no torch is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import builders
import pytest

import archprof
from archprof.errors import UsageError
from archprof.facts.measured import Latency, Measurement, Timing
from archprof.facts.overlays import Outside
from archprof.facts.predicted import LatencyPrediction, PredictedRow, Seconds
from archprof.facts.records import Profile, Ran
from archprof.predicting.devices import Device, Figure, resolve_device
from archprof.predicting.latency import predict_latency

A100 = resolve_device("a100 sxm4 40gb")


@pytest.fixture(scope="module")
def alexnet() -> Profile:
    return archprof.profile("alexnet", batch=64)


@pytest.fixture(scope="module")
def step() -> Profile:
    return archprof.profile("alexnet", batch=8, train=True, optimizer="sgd(momentum=0.9)")


@pytest.mark.parametrize("device", ["a100 sxm4 40gb", "t4", "mi300x", "m4 max", "epyc 9654", "h100 nvl"])
def test_rows_sum_to_the_whole_within_their_intervals(alexnet: Profile, device: str) -> None:
    for options in ({}, {"eager": False}, {"compiled": True}, {"channels_last": True}, {"tf32": (True, True)}):
        found = predict_latency(alexnet, resolve_device(device), **options)  # type: ignore[arg-type]
        found.check()
        assert found.roofline_seconds <= 1.2 * found.kernel_seconds <= 1.2 * found.whole.p50 + 1e-12
        for row in found.layers:
            parts = row.arithmetic + row.memory + row.launch
            assert parts == pytest.approx(row.seconds.p50)
            assert row.seconds.low <= row.seconds.p50 < row.seconds.high or not row.seconds.p50


def test_eager_is_never_faster_than_captured_and_fused_never_slower() -> None:
    profile = archprof.profile("resnet18", batch=64)
    eager, captured = (predict_latency(profile, A100, eager=one) for one in (True, False))
    fused = predict_latency(profile, A100, eager=False, compiled=True)
    assert eager.whole.p50 > captured.whole.p50 == captured.kernel_seconds > fused.whole.p50
    assert captured.roofline_seconds > fused.roofline_seconds
    assert fused.notes


def test_one_image_waits_for_the_host_and_many_do_not(alexnet: Profile) -> None:
    one, many = archprof.profile("resnet18", batch=1), archprof.profile("resnet18", batch=256)
    assert predict_latency(one, A100).bound == "launch"
    assert predict_latency(many, A100).bound != "launch"


def test_a_training_step_has_the_optimizer_apart_and_takes_longer(step: Profile) -> None:
    found = predict_latency(step, A100, eager=False)
    found.check()
    assert [row.key for row in found.rest] == [Outside.OPTIMIZER_STEP]
    forward = predict_latency(archprof.profile("alexnet", batch=8), A100, eager=False)
    assert 2 * forward.whole.p50 < found.whole.p50 < 8 * forward.whole.p50


def test_what_was_never_measured_starts_at_the_roofline_and_is_called_a_bound(alexnet: Profile) -> None:
    found = predict_latency(alexnet, resolve_device("mi300x"))
    assert found.standing == "bound"
    assert found.whole.low == found.roofline_seconds
    assert any("bound" in note for note in found.notes)
    assert found.whole.high / found.whole.p50 > predict_latency(alexnet, A100).whole.high / (
        predict_latency(alexnet, A100).whole.p50
    )


def test_a_device_that_nothing_is_known_of_is_refused(alexnet: Profile) -> None:
    with pytest.raises(UsageError, match="its arithmetic or its bandwidth is not known"):
        predict_latency(alexnet, Device("a box", "gpu", "a box", {}))


def calibrated(share: float) -> Device:
    """An A100 that was measured at a share of its datasheet."""
    figures = {"fp32": 19.5e12 * share, "fp16_dense": 312e12 * share, "mem_bw": 1555e9 * share}
    return A100._replace(figures={name: Figure(value, "measured", "here") for name, value in figures.items()})


def test_a_calibration_of_what_was_never_measured_tells_nothing_of_its_kernels(alexnet: Profile) -> None:
    """Its rates are known; how its kernels use them is a guess, as of the datasheet's."""
    figures = {name: Figure(value, "measured", "") for name, value in {"fp32": 1e11, "mem_bw": 4e10}.items()}
    found = predict_latency(alexnet, Device("Some CPU", "cpu", "Some CPU", figures), eager=False)
    plain = predict_latency(alexnet, A100, eager=False)
    assert found.standing == "calibrated"
    assert found.whole.high / found.whole.p50 > plain.whole.high / plain.whole.p50
    assert found.whole.low < found.whole.p50


def test_a_calibration_replaces_the_datasheet_and_narrows_the_interval(alexnet: Profile) -> None:
    half, plain = (predict_latency(alexnet, device, eager=False) for device in (calibrated(0.4), A100))
    assert half.standing == "calibrated"
    assert half.whole.p50 > plain.whole.p50
    assert half.whole.high / half.whole.p50 < plain.whole.high / plain.whole.p50
    slower = predict_latency(alexnet, calibrated(0.2), eager=False)
    assert slower.whole.p50 == pytest.approx(2 * half.whole.p50, rel=0.1)


def measured(profile: Profile, seconds: float, name: str) -> Profile:
    timing = Timing(Outside.WHOLE, ((seconds, seconds), (seconds, seconds), (seconds, seconds)))
    ran = Ran(device="cuda", device_name=name, tf32_matmul=False, tf32_cudnn=True)
    latency = Latency("gpu", (), (), timing)
    return replace(profile, overlays=(Measurement(ran, "forward", (latency,)),))


def test_measurements_of_the_device_correct_the_model(alexnet: Profile) -> None:
    """Three that took twice as long: the fourth root of 2 ** 3, since the model's own word counts once."""
    plain = predict_latency(alexnet, A100, eager=False)
    slow = measured(alexnet, 2 * plain.whole.p50, "NVIDIA A100-SXM4-40GB")
    found = predict_latency(alexnet, A100, eager=False, measured=(slow, slow, slow))
    found.check()
    assert found.standing == "refined"
    assert found.whole.p50 == pytest.approx(2**0.75 * plain.whole.p50)
    assert found.whole.high / found.whole.p50 < plain.whole.high / plain.whole.p50
    other = measured(alexnet, 1.0, "Tesla T4")
    assert predict_latency(alexnet, A100, measured=(other,)) == predict_latency(alexnet, A100)


def test_a_profile_made_by_hand_has_no_shapes_and_still_has_times() -> None:
    for profile in (builders.profile(), builders.measured(), builders.trained()):
        predict_latency(profile, A100).check()


def test_an_unknown_op_makes_a_lower_bound(alexnet: Profile) -> None:
    ops = tuple(op._replace(signature=op.signature._replace(status="unknown", macs=None)) for op in alexnet.ops[:1])
    assert not predict_latency(replace(alexnet, ops=ops + alexnet.ops[1:]), A100).complete


@pytest.mark.parametrize(("device", "dtype"), [("t4", "bfloat16"), ("v100 pcie", "bfloat16"), ("titan xp", "float16")])
def test_a_dtype_that_a_device_has_no_arithmetic_for_runs_at_the_rate_of_float32(device: str, dtype: str) -> None:
    """Its interval is that of devices without tensor cores, and a note says so."""
    half = archprof.profile("alexnet", batch=64, dtype=dtype)
    found = predict_latency(half, resolve_device(device))
    assert any(f"no fast arithmetic in {dtype}" in note for note in found.notes)
    own = predict_latency(archprof.profile("alexnet", batch=64, dtype="float16"), resolve_device("t4"))
    assert not any("no fast arithmetic" in note for note in own.notes)
    fast = 2 * half.totals.macs / resolve_device(device).figures["fp32"].value
    assert found.kernel_seconds > fast
    assert found.whole.high / found.whole.p50 > own.whole.high / own.whole.p50


def test_intervals_and_sums_are_checked(alexnet: Profile) -> None:
    found = predict_latency(alexnet, A100)
    with pytest.raises(ValueError, match="an interval that is none"):
        replace(found, whole=Seconds(1.0, 2.0, 3.0)).check()
    with pytest.raises(ValueError, match="do not sum"):
        replace(found, layers=found.layers[1:]).check()
    row = PredictedRow(0, Seconds(3.0, 1.0, 5.0), 1.0, 0.5, 1.5, 1.5)
    assert row.bound == "launch"
    assert isinstance(found, LatencyPrediction)
    assert list(found.calls()) == [each.key for each in found.layers]


def test_a_saved_profile_is_predicted_without_torch(alexnet: Profile, tmp_path: Path) -> None:
    path = tmp_path / "alexnet.json"
    alexnet.save(path)
    code = (
        "import sys, json, archprof\n"
        "from archprof.predicting.devices import load_catalogue\n"
        "from archprof.predicting.latency import predict_latency\n"
        "profile = archprof.load(sys.argv[1])\n"
        "devices = [one for one in load_catalogue() if {'fp32', 'mem_bw'} <= set(one.figures)][:10]\n"
        "times = [predict_latency(profile, one).whole.p50 for one in devices for _ in range(3)]\n"
        "print(json.dumps([len(times), 'torch' in sys.modules, 'numpy' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [30, False, False]
