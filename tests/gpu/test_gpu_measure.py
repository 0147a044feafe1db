"""Measuring on a real GPU: `pytest -m gpu`. What needs minutes is in validate.py."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from builders import name_rows
from torch import nn

import archprof
from archprof.errors import DoesNotFit
from archprof.facts.measured import Latency
from archprof.facts.overlays import Outside
from archprof.facts.records import Profile
from archprof.measuring.calibrate import calibrate_device
from archprof.measuring.cuda import CudaDevice

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]

SECONDS = 2.0


class Block(nn.Module):
    """A residual block: its sum is the block's own work."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = (
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.act(self.norm(self.conv(x)))
        return y + x


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), Block(64), Block(64), nn.Flatten(), nn.Linear(64 * 32 * 32, 10)
    )


def measured(model: nn.Module | None = None, **options: Any) -> Profile:
    inputs = torch.randn(32, 3, 32, 32)
    return archprof.measure(model or net(), inputs, device="cuda", seconds=SECONDS, **options)


def by_method(profile: Profile) -> dict[str, Latency]:
    assert profile.measurement is not None
    return {latency.method: latency for latency in profile.measurement.latencies}


def total(latency: Latency) -> float:
    return sum(row.p50 for row in (*latency.layers, *latency.rest) if row.key is not Outside.UNATTRIBUTED)


@pytest.fixture(scope="module")
def forward() -> Profile:
    return measured()


def test_three_numbers_a_layer(forward):
    forward.check()
    found = by_method(forward)
    assert list(found) == ["gpu", "eager", "kernel"]
    assert found["gpu"].notes == () or not any("queue" in note for note in found["gpu"].notes)
    assert {row.key for row in found["gpu"].layers} == {row.key for row in found["kernel"].layers}


def test_the_rows_sum_to_the_whole(forward):
    latency = by_method(forward)["gpu"]
    assert total(latency) == pytest.approx(latency.whole.p50, rel=0.05)


def test_kernels_take_no_longer_than_their_layer(forward):
    gpu, kernel = by_method(forward)["gpu"], by_method(forward)["kernel"]
    own = {row.key: row.p50 for row in gpu.layers}
    for row in kernel.layers:
        if row.p50 >= 20e-6:
            assert row.p50 <= 1.1 * own[row.key]


def test_a_residual_sum_belongs_to_its_block(forward):
    names = name_rows(forward)
    kernels = {names[key][0]: found for key, found in by_method(forward)["kernel"].kernels.items()}
    assert sum(kernel.count for kernel in kernels["1"]) == 1
    assert "3" not in kernels  # Flatten runs nothing


def test_the_time_of_a_kernel_is_that_of_its_row(forward):
    latency = by_method(forward)["kernel"]
    for row in latency.layers:
        names = latency.kernels.get(row.key, ())
        assert sum(kernel.seconds for kernel in names) == pytest.approx(row.p50, rel=0.2, abs=2e-6)


def test_memory_of_a_layer_is_its_output_and_its_workspace(forward):
    assert forward.measurement is not None
    names = name_rows(forward)
    rows = {names[row.key][0]: row for row in forward.measurement.memory}
    output = 32 * 64 * 32 * 32 * 4
    assert rows["0"].allocated_peak >= output
    whole = forward.measurement.memory_whole
    assert whole is not None
    assert whole.allocated_peak >= 2 * output
    assert whole.reserved_peak is not None
    assert rows[""].allocated_peak == pytest.approx(whole.allocated_peak, rel=0.05)


def test_the_environment_is_told(forward):
    assert forward.measurement is not None
    ran = forward.measurement.ran
    assert (ran.device, ran.device_name, ran.dtype) == ("cuda", torch.cuda.get_device_name(), "float32")
    assert ran.allows_tf32 == (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)
    assert "cuda" in ran.versions
    assert "cudnn.benchmark" in ran.details


def test_a_training_step():
    profile = measured(train=True)
    profile.check()
    found = by_method(profile)
    assert total(found["gpu"]) == pytest.approx(found["gpu"].whole.p50, rel=0.1)
    rest = {row.key: row.p50 for row in found["kernel"].rest}
    assert rest[Outside.OPTIMIZER_STEP] > 0
    forward, names = by_method(measured())["kernel"], name_rows(profile)
    there, back = ({names[row.key][0]: row.p50 for row in one.layers} for one in (forward, found["kernel"]))
    assert back["1.conv"] > 1.5 * there["1.conv"]  # its backward is in it


class Waits(nn.Module):
    """Asks for a value, which no graph can hold; drops out, which needs torch's random generator afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(256, 256), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x)
        return self.drop(y) if not x.is_cuda or y.sum().item() < 1e9 else y


def test_what_cannot_be_captured_is_measured_with_a_filled_queue():
    profile = archprof.measure(Waits(), torch.randn(64, 256), device="cuda", seconds=SECONDS, train=True)
    [note] = [note for note in by_method(profile)["gpu"].notes if "filled queue" in note]
    assert "synchroniz" in note
    nn.Dropout(0.5)(torch.ones(8, device="cuda"))  # the generator still works


def test_layers_with_a_known_answer():
    class Sleep(nn.Module):
        def __init__(self, cycles: int) -> None:
            super().__init__()
            self.cycles = cycles

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.is_cuda:
                torch.cuda._sleep(self.cycles)
            return x + 1

    short, long = 1_000_000, 4_000_000
    profile = archprof.measure(nn.Sequential(Sleep(short), Sleep(long)), torch.zeros(4), device="cuda", seconds=SECONDS)
    for method in ("gpu", "kernel"):
        first, second = (row.p50 for row in by_method(profile)[method].layers if row.key)
        assert second / first == pytest.approx(long / short, rel=0.03)


def test_a_batch_that_does_not_fit_is_told():
    with pytest.raises(DoesNotFit):
        archprof.measure(nn.Conv2d(3, 64, 3), "3x224x224", device="cuda", batch=10_000_000)


def test_nothing_of_the_users_is_changed():
    model = net().cuda()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = CudaDevice().environment()
    stream, state = torch.cuda.current_stream(), torch.cuda.get_rng_state()
    measured(model)
    assert torch.cuda.current_stream() == stream
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.cuda.get_sync_debug_mode() == 0
    after = CudaDevice().environment()
    assert all(after[name] == text for name, text in settings.items() if not name.startswith(("gpu ", "clocks")))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_compiled_model_has_its_wholes():
    found = by_method(measured(compile=True))
    assert set(found) == {"gpu", "eager"}
    assert found["gpu"].layers == ()
    assert 0 < found["gpu"].whole.p50 <= 1.1 * found["eager"].whole.p50


def test_a_calibration_takes_less_than_a_minute():
    start = time.perf_counter()
    found = calibrate_device(CudaDevice())
    assert time.perf_counter() - start < 60
    assert {"float32", "float16"} <= set(found.matmul_flop_per_second)
    assert found.matmul_flop_per_second["float16"].p50 > found.matmul_flop_per_second["float32"].p50
    assert 0 < found.mark_seconds < 1e-5
