"""Measured layers under the roof of a device, by hand."""

from __future__ import annotations

import dataclasses
import json

import builders
import pytest
import torch

from archprof.analysis.network.network import build_network
from archprof.analysis.report import charts, page
from archprof.analysis.report.view import PageView
from archprof.errors import ArchprofError, UsageError
from archprof.facts import store
from archprof.facts.records import TensorSpec
from archprof.measuring import gpu_state
from archprof.predicting import devices, roofline
from archprof.predicting.devices import Figure
from archprof.predicting.roofline import Roof

ROOF = Roof("a device", "bfloat16", Figure(100e12, "seen", ""), Figure(2e12, "seen", ""))


def test_the_roof_by_hand():
    """100 TFLOP/s and 2 TB/s meet at 50 FLOPs for each byte."""
    assert ROOF.ridge == 50
    assert [ROOF.reachable_rate(intensity) for intensity in (1, 25, 50, 1000)] == [2e12, 50e12, 100e12, 100e12]
    assert ROOF.outline(1, 200) == [(1, 2e12), (50, 100e12), (200, 100e12)]
    assert ROOF.outline(60, 200) == [(50, 100e12), (200, 100e12)]
    assert ROOF.outline(1, 2) == [(1, 2e12), (50, 100e12)]
    assert ROOF.describe() == "100.00 TFLOP/s in bfloat16 and 2.00 TB/s, by the datasheet"
    doubted = ROOF._replace(peak=ROOF.peak._replace(status="unverified"))
    assert doubted.describe().endswith("by the datasheet (unverified)")


def test_the_dots_by_hand():
    """conv1: 14,080 FLOPs in 10.04 ms, which moved 768 + 1,024 bytes; the first relu is too short to tell."""
    dots = {name: (intensity, rate) for intensity, rate, name in charts.measure_rates(PageView(builders.measured()))}
    assert set(dots) == {"block (own)", "block.conv1", "block.conv2", "block.relu #2", "fc"}
    assert dots["block.conv1"] == (pytest.approx(14080 / 1792), pytest.approx(14080 / 0.01004))
    assert not charts.measure_rates(PageView(builders.profile()))


def test_a_roof_is_of_the_device_that_was_measured():
    assert roofline.find_roof(builders.profile()) is None
    assert roofline.find_roof(builders.measured()) is None
    found = roofline.find_roof(builders.on_gpu())
    assert (found.device, found.peak.value, found.bandwidth.value) == (
        "NVIDIA H200 SXM",
        pytest.approx(66.9e12),
        4800e9,
    )


def test_the_roof_of_float32_is_that_of_tf32_where_torch_may_use_it():
    allowed = builders.on_gpu(tf32_matmul=False, tf32_cudnn=True)
    found = roofline.find_roof(allowed)
    assert (found.dtype, found.peak.value) == ("tf32", pytest.approx(494.7e12))
    assert roofline.find_roof(builders.on_gpu(tf32_cudnn=False)).dtype == "float32"


def test_the_roof_is_that_of_the_dtype_that_autocast_chose():
    """What multiplies most ran in bfloat16: 989 TFLOP/s on an H200, by its datasheet."""
    plain = builders.on_gpu(tf32_cudnn=False)
    macs = 1 + sum(op.signature.macs for op in plain.ops)
    halves = plain.ops[0].signature._replace(inputs=(TensorSpec((4, 4), "bfloat16"),), macs=macs)
    mixed = dataclasses.replace(plain, ops=(plain.ops[0]._replace(signature=halves), *plain.ops[1:]))
    assert (mixed.dtype, mixed.product_dtype) == ("float32", "bfloat16")
    found = roofline.find_roof(mixed)
    assert (found.dtype, found.peak.value) == ("bfloat16", pytest.approx(989.4e12, rel=1e-3))


def test_a_roof_by_name_or_by_calibration(tmp_path):
    path = tmp_path / "mine.json"
    rate = {"p50": 5e10, "low": 4e10, "high": 6e10}
    path.write_text(
        json.dumps(
            {
                "device": "cpu",
                "name": "Mine",
                "copy_bytes_per_second": rate,
                "matmul_flop_per_second": {"float32": rate},
            }
        )
    )
    found = roofline.find_roof(builders.measured(), devices.resolve_device(str(path)))
    assert (found.device, found.ridge) == ("Mine", 1)
    assert found.describe() == "50.00 GFLOP/s in float32 and 50.00 GB/s, measured"
    assert roofline.find_roof(builders.measured(), devices.resolve_device("NVIDIA L4")).device == "NVIDIA L4"
    assert page.build_report([builders.measured()], device=str(path)).models[0].charts
    predicted = page.build_report([builders.profile()], device="NVIDIA L4")
    assert predicted.badge == "predicted"  # what was not measured there is predicted
    path.write_text("{}")
    with pytest.raises(ArchprofError, match="is no calibration"):
        devices.resolve_device(str(path))


@pytest.mark.parametrize(
    ("profile", "device", "allowed"),
    [
        (builders.measured(), "NVIDIA L4", False),
        (builders.measured(), "AMD EPYC 9654", True),  # "Test CPU" says nothing of which it is
        (builders.measured(device_name="AMD EPYC 9654 96-Core Processor"), "AMD EPYC 9654", True),
        (builders.measured(device_name="Apple M1"), "Apple M1 (8-core GPU)", False),
        (builders.on_gpu(), "NVIDIA H200 SXM", True),
        (builders.on_gpu(), "NVIDIA L4", False),
        (builders.on_gpu(), "AMD EPYC 9654", False),
        (builders.on_gpu(device_name="a new GPU"), "NVIDIA L4", True),
    ],
)
def test_a_roof_of_another_device_is_refused(profile, device, allowed):
    if allowed:
        page.build_report([profile], device=device)
        return
    with pytest.raises(UsageError, match=f"says nothing of times on {profile.measurement.device_title}"):
        page.build_report([builders.profile(), profile], device=device)


def test_a_calibration_of_the_device_is_its_roof(tmp_path):
    path = tmp_path / "gpu.json"
    rate = {"p50": 5e10}
    file = {"device": "cuda", "copy_bytes_per_second": rate, "matmul_flop_per_second": {"float32": rate}}
    path.write_text(json.dumps({**file, "name": "NVIDIA H200"}))
    assert page.build_report([builders.on_gpu()], device=str(path)).models[0].charts
    path.write_text(json.dumps({**file, "name": "NVIDIA L4"}))
    with pytest.raises(UsageError, match="A roof of NVIDIA L4 says nothing"):
        page.build_report([builders.on_gpu()], device=str(path))


def test_a_cpu_has_no_roof_of_a_gpu_of_its_name():
    """The figures of the catalogue for Apple's chips are those of their GPUs."""
    assert roofline.find_roof(builders.measured(device_name="Apple M1")) is None


def test_the_picture_of_a_known_device_has_its_roof():
    drawn = {series.key: series for series in charts.build_charts(PageView(builders.on_gpu()))}
    assert "intensity" not in drawn
    roofs = drawn["roofline"]
    assert roofs.names == ("convolution", "matrix product", "roof of NVIDIA H200 SXM")
    assert [{label for _, _, label in points} for points in roofs.points[:2]] == [
        {"block.conv1", "block.conv2"},
        {"fc"},
    ]
    assert roofs.title == "Roofline: 66.90 TFLOP/s in float32 and 4.80 TB/s, by the datasheet"
    unknown = {series.key: series for series in charts.build_charts(PageView(builders.measured()))}
    assert unknown["roofline"].names == ("convolution", "matrix product", "activation", "other")


def test_the_blocks_of_the_latency_add_up():
    """To the whole as it was measured, with the 1.96 ms between the layers; what was not measured has no lane."""
    [time] = [lane for lane in build_network(builders.measured()).lanes if lane.key == "latency"]
    assert sum(time.values) + 0.00196 == pytest.approx(time.total, abs=5e-6)
    assert time.total == pytest.approx(0.04)
    assert "latency" not in {lane.key for lane in build_network(builders.profile()).lanes}


@pytest.mark.parametrize("allowed", [True, False])
def test_the_roof_follows_torchs_own_switch_through_a_file(allowed):
    """What `gpu_state` reads of torch is what the roofline asks, also of a profile that was saved."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32, cudnn.allow_tf32 = False, allowed
        ran = gpu_state.describe_torch()
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
    profile = builders.on_gpu(ran=dataclasses.replace(ran, device_name="NVIDIA H200"))
    for seen in (profile, store.from_json(profile.to_json())):
        assert roofline.find_roof(seen).dtype == ("tf32" if allowed else "float32")
