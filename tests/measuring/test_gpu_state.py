"""What a machine says of its GPU: by NVIDIA's library, by its tool, or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from archprof.measuring import gpu_state
from archprof.measuring.gpu_state import (
    CardState,
    describe_card,
    describe_reasons,
    describe_torch,
    read_card,
)

UUID = "0b5a2c1e-0000-1111-2222-333344445555"

TOOL = """#!/bin/sh
case "$*" in
  *--id=GPU-{uuid}*--query-gpu=driver_version*) echo "580.159.03, 1980, 1980, 3201, 123.45, 700.00, [N/A]";;
  *--id=GPU-{uuid}*--query-gpu={held}*) echo "0x0000000000000044";;
  *--id=GPU-{uuid}*--query-compute-apps=pid*) printf '%s\\n' 4711 {own};;
  *) echo 'Field "x" is not a valid field to query.'; exit 2;;
esac
"""


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails


def put_tool(folder: Path, monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(TOOL.format(uuid=UUID, held=held, own=os.getpid()))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize("held", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
def test_nvidia_smi_is_asked_in_its_new_and_its_old_words(tmp_path, monkeypatch, no_library, held):
    put_tool(tmp_path, monkeypatch, held)
    found = read_card(UUID)
    assert found == CardState("580.159.03", 1980, 1980, 3201, 123.45, 700, None, 0x44, (4711, os.getpid()))
    assert describe_card(found) == {
        "driver": "580.159.03",
        "gpu clock": "1980 of 1980 MHz",
        "gpu memory clock": "3201 MHz",
        "gpu power": "123.45 of 700 W",
        "clocks held back by": "power cap, heat (hardware)",
        "other processes on the gpu": "4711",
    }


def test_a_tool_that_does_not_know_this_card_says_nothing(tmp_path, monkeypatch, no_library):
    put_tool(tmp_path, monkeypatch, "none")
    assert read_card("another") == CardState()
    assert describe_card(CardState()) == {}


def test_without_library_and_tool_nothing_is_known(tmp_path, monkeypatch, no_library):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_card(UUID) == CardState()
    assert read_card(None) == CardState()


def library(**more: object) -> ModuleType:
    """pynvml as nvidia-ml-py has it: milliwatts, and errors for what a card does not have."""

    def unsupported(*arguments: object) -> None:
        raise RuntimeError("Not Supported")

    module = ModuleType("pynvml")
    clocks = {1: 1755, 2: 2619}
    known = {
        "NVML_CLOCK_SM": 1,
        "NVML_CLOCK_MEM": 2,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlSystemGetDriverVersion": lambda: b"550.54.15",
        "nvmlDeviceGetClockInfo": lambda handle, which: clocks[which],
        "nvmlDeviceGetMaxClockInfo": lambda handle, which: 1980,
        "nvmlDeviceGetPowerUsage": lambda handle: 351_250,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
        "nvmlDeviceGetTemperature": lambda handle, which: 51,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x4,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=os.getpid())],
    }
    for name, value in (known | dict.fromkeys(more, unsupported)).items():
        setattr(module, name, value)
    return module


def test_the_library_is_asked_first(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert describe_card(read_card(UUID)) == {
        "driver": "550.54.15",
        "gpu clock": "1755 of 1980 MHz",
        "gpu memory clock": "2619 MHz",
        "gpu power": "351.25 of 700 W",
        "gpu temperature": "51 °C",
        "clocks held back by": "power cap",
        "other processes on the gpu": "none",
    }


def test_what_the_library_does_not_tell_is_left_out(monkeypatch):
    missing = library(nvmlDeviceGetPowerUsage=None, nvmlDeviceGetComputeRunningProcesses=None)
    monkeypatch.setitem(sys.modules, "pynvml", missing)
    found = describe_card(read_card(UUID))
    assert "gpu power" not in found
    assert "other processes on the gpu" not in found
    assert found["gpu clock"] == "1755 of 1980 MHz"


@pytest.mark.parametrize(("mask", "text"), [(0, "nothing"), (0x1, "idle"), (0x404, "power cap, reason 0x400")])
def test_masks_are_told_in_words(mask, text):
    assert describe_reasons(mask) == text


@pytest.mark.parametrize(("on", "word"), [(True, "on"), (False, "off")])
def test_the_settings_of_torch_are_told(on, word):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.benchmark
    try:
        matmul.allow_tf32 = cudnn.benchmark = on
        found = describe_torch()
    finally:
        matmul.allow_tf32, cudnn.benchmark = before
    assert (found.tf32_matmul, found.details["cudnn.benchmark"]) == (on, word)
    assert found.versions["torch"] == torch.__version__
    assert not torch.cuda.is_initialized()


def test_a_setting_that_torch_refuses_to_tell_is_left_out(monkeypatch):
    """torch raises when its old and its new switches of TF32 were both used."""

    class Mixed:
        @property
        def allow_tf32(self) -> bool:
            raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Mixed())
    found = describe_torch()
    assert found.tf32_matmul is None
    assert found.tf32_cudnn is not None


def test_a_device_is_told_with_its_state(monkeypatch):
    properties = SimpleNamespace(
        name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, total_memory=150_000_000_000, uuid=UUID
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(gpu_state, "read_card", lambda uuid: CardState(driver="580" if uuid == UUID else None))
    assert gpu_state.describe_gpu(0) == {
        "gpu": "NVIDIA H200",
        "compute capability": "9.0",
        "multiprocessors": "132",
        "gpu memory": "150000000000 B",
        "driver": "580",
    }
