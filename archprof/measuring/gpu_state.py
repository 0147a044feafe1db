"""What a number measured on a GPU depends on: settings of torch, clocks, power, drivers, other processes.

All of it is read and none of it changed. What a machine does not tell is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import torch

REASONS = {
    0x1: "idle",
    0x2: "clocks set by an application",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake (hardware)",
    0x100: "display clocks",
}
"""Why a GPU does not run at its highest clock: `nvmlClocksEventReasons` of NVIDIA's nvml.h."""

QUERY = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.draw", "power.limit", "temperature.gpu")
"""Asked of nvidia-smi."""

HELD_BACK = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The same by its new and its old name: nvidia-smi answers nothing at all when it does not know one name of a query."""


class Card(NamedTuple):
    """What the driver says of a GPU at this moment: MHz, watts, degrees Celsius; `None` where it says nothing."""

    driver: str | None = None
    clock: float | None = None
    highest_clock: float | None = None
    memory_clock: float | None = None
    power: float | None = None
    power_limit: float | None = None
    temperature: float | None = None
    reasons: int | None = None
    processes: tuple[int, ...] | None = None


def of_torch() -> dict[str, str]:
    """The versions and settings that decide which kernels torch picks; needs no GPU and starts none."""
    backends: Any = torch.backends
    asked: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.__version__,
        "cuda": lambda: torch.version.cuda,
        "cudnn": lambda: backends.cudnn.version(),
        "tf32 in matrix products": lambda: backends.cuda.matmul.allow_tf32,
        "tf32 in cudnn": lambda: backends.cudnn.allow_tf32,
        "fp32_precision": lambda: backends.fp32_precision,
        "float32_matmul_precision": torch.get_float32_matmul_precision,
        "fp16 reduced-precision reduction": lambda: backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        "bf16 reduced-precision reduction": lambda: backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        "cudnn.enabled": lambda: backends.cudnn.enabled,
        "cudnn.benchmark": lambda: backends.cudnn.benchmark,
        "cudnn.deterministic": lambda: backends.cudnn.deterministic,
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
        "attention kernels allowed": _attention,
        "allocator": lambda: os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF"),
    }
    return {name: text for name, ask in asked.items() if (text := _answer(ask)) is not None}


def of_device(index: int) -> dict[str, str]:
    """The GPU itself, and its state at this moment."""
    properties = torch.cuda.get_device_properties(index)
    found = {
        "gpu": properties.name,
        "compute capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": str(properties.multi_processor_count),
        "gpu memory": f"{properties.total_memory} B",
        "L2 cache": _answer(lambda: f"{properties.L2_cache_size} B"),
    }
    known = {name: text for name, text in found.items() if text is not None}
    return known | words(card(_answer(lambda: properties.uuid)))


def words(card: Card) -> dict[str, str]:
    """A card's state by name, with units; without what is not known."""
    others = None if card.processes is None else [pid for pid in card.processes if pid != os.getpid()]
    found = {
        "driver": card.driver,
        "gpu clock": _of(card.clock, card.highest_clock, "MHz"),
        "gpu memory clock": _of(card.memory_clock, None, "MHz"),
        "gpu power": _of(card.power, card.power_limit, "W"),
        "gpu temperature": _of(card.temperature, None, "°C"),
        "clocks held back by": None if card.reasons is None else reasons(card.reasons),
        "other processes on the gpu": None if others is None else ", ".join(map(str, others)) or "none",
    }
    return {name: text for name, text in found.items() if text is not None}


def reasons(mask: int) -> str:
    """The words of a mask of `nvmlClocksEventReasons`: "nothing" for 0."""
    known = [name for bit, name in REASONS.items() if mask & bit]
    unknown = mask & ~sum(REASONS)
    return ", ".join([*known, *([f"reason {unknown:#x}"] if unknown else [])]) or "nothing"


def card(uuid: str | None) -> Card:
    """The state of the GPU with this identifier, by NVIDIA's library or else its tool; empty without either."""
    if uuid is None:
        return Card()
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    return by_library(name) or by_tool(name) or Card()


def by_library(uuid: str) -> Card | None:
    """Through pynvml (the package nvidia-ml-py), if it is there."""
    try:
        nvml: Any = import_module("pynvml")
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except Exception:  # not installed, no driver, no right to ask: all mean that it cannot tell
        return None

    def ask(name: str, *arguments: Any, scale: float = 1.0) -> float | None:
        value: float | None = _tried(lambda: getattr(nvml, name)(handle, *arguments) * scale)
        return value

    driver = _tried(nvml.nvmlSystemGetDriverVersion)
    return Card(
        driver=driver.decode() if isinstance(driver, bytes) else driver,
        clock=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        highest_clock=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        memory_clock=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        power=ask("nvmlDeviceGetPowerUsage", scale=1e-3),
        power_limit=ask("nvmlDeviceGetEnforcedPowerLimit", scale=1e-3),
        temperature=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        reasons=_tried(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        processes=_tried(lambda: tuple(one.pid for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )


def by_tool(uuid: str) -> Card | None:
    """Through nvidia-smi, if it is on the path."""
    answer = _nvidia_smi(uuid, "--query-gpu=" + ",".join(QUERY))
    if answer is None:
        return None
    fields = [field.strip() for field in answer.split(",")]
    if len(fields) != len(QUERY):
        return None
    held_back = (_nvidia_smi(uuid, f"--query-gpu={name}") for name in HELD_BACK)
    mask = next((text for text in held_back if text is not None), "")
    processes = _nvidia_smi(uuid, "--query-compute-apps=pid")
    driver, clock, highest, memory, power, limit, temperature = fields
    return Card(
        driver=driver,
        clock=_number(clock),
        highest_clock=_number(highest),
        memory_clock=_number(memory),
        power=_number(power),
        power_limit=_number(limit),
        temperature=_number(temperature),
        reasons=_tried(lambda: int(mask, 16)),
        processes=None if processes is None else tuple(_pids(processes)),
    )


def _nvidia_smi(uuid: str, query: str) -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, f"--id={uuid}", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _pids(lines: str) -> Iterator[int]:
    for line in lines.splitlines():
        if line.strip().isdigit():
            yield int(line)


def _number(text: str) -> float | None:
    """nvidia-smi writes "[N/A]" for what a card does not have."""
    try:
        return float(text)
    except ValueError:
        return None


def _attention() -> str:
    cuda: Any = torch.backends.cuda
    allowed = {
        "flash": cuda.flash_sdp_enabled(),
        "memory-efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "plain": cuda.math_sdp_enabled(),
    }
    return ", ".join(name for name, on in allowed.items() if on)


def _of(value: float | None, most: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return f"{value:g} {unit}" if most is None else f"{value:g} of {most:g} {unit}"


def _answer(ask: Callable[[], Any]) -> str | None:
    """What was asked, as text; on and off for a switch."""
    value = _tried(ask)
    if isinstance(value, bool):
        return "on" if value else "off"
    return None if value is None else str(value)


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:  # an older torch, driver or card does not know it; it is then left out
        return None
