"""What a number measured on a GPU depends on: settings of torch, clocks, power, drivers, other processes.

All of it is read and none of it changed. What a machine does not tell is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from archprof.facts.records import Ran
from archprof.wording import split_words

CLOCK_REASONS = {
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

SMI_FIELDS = (
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.draw",
    "power.limit",
    "temperature.gpu",
)
"""Asked of nvidia-smi."""

SMI_REASON_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The same by its new and its old name: nvidia-smi answers nothing at all when it does not know one name of a query."""


class CardState(NamedTuple):
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


def describe_torch() -> Ran:
    """The versions and settings that decide which kernels torch picks; needs no GPU and starts none."""
    backends: Any = torch.backends
    versions: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.__version__,
        "cuda": lambda: torch.version.cuda,
        "cudnn": lambda: backends.cudnn.version(),
    }
    asked: dict[str, Callable[[], Any]] = {
        "fp32_precision": lambda: backends.fp32_precision,
        "float32_matmul_precision": torch.get_float32_matmul_precision,
        "fp16 reduced-precision reduction": lambda: backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        "bf16 reduced-precision reduction": lambda: backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        "cudnn.enabled": lambda: backends.cudnn.enabled,
        "cudnn.benchmark": lambda: backends.cudnn.benchmark,
        "cudnn.deterministic": lambda: backends.cudnn.deterministic,
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
        "attention kernels allowed": _list_attention_kernels,
        "allocator": lambda: os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF"),
    }
    return Ran(
        "cuda",
        tf32_matmul=_ask_safely(lambda: bool(backends.cuda.matmul.allow_tf32)),
        tf32_cudnn=_ask_safely(lambda: bool(backends.cudnn.allow_tf32)),
        versions=_ask_texts(versions),
        details=_ask_texts(asked),
    )


def _ask_texts(asked: dict[str, Callable[[], Any]]) -> dict[str, str]:
    return {name: text for name, ask in asked.items() if (text := _ask_text(ask)) is not None}


def describe_gpu(index: int) -> dict[str, str]:
    """The GPU itself, and its state at this moment."""
    properties = torch.cuda.get_device_properties(index)
    found = {
        "gpu": properties.name,
        "compute capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": str(properties.multi_processor_count),
        "gpu memory": f"{properties.total_memory} B",
        "L2 cache": _ask_text(lambda: f"{properties.L2_cache_size} B"),
    }
    known = {name: text for name, text in found.items() if text is not None}
    return known | describe_card(read_card(_ask_text(lambda: properties.uuid)))


def describe_card(card: CardState) -> dict[str, str]:
    """A card's state by name, with units; without what is not known."""
    others = None if card.processes is None else [pid for pid in card.processes if pid != os.getpid()]
    found = {
        "driver": card.driver,
        "gpu clock": _show_with_limit(card.clock, card.highest_clock, "MHz"),
        "gpu memory clock": _show_with_limit(card.memory_clock, None, "MHz"),
        "gpu power": _show_with_limit(card.power, card.power_limit, "W"),
        "gpu temperature": _show_with_limit(card.temperature, None, "°C"),
        "clocks held back by": None if card.reasons is None else describe_reasons(card.reasons),
        "other processes on the gpu": None if others is None else ", ".join(map(str, others)) or "none",
    }
    return {name: text for name, text in found.items() if text is not None}


def describe_reasons(mask: int) -> str:
    """The words of a mask of `nvmlClocksEventReasons`: "nothing" for 0."""
    known = [name for bit, name in CLOCK_REASONS.items() if mask & bit]
    unknown = mask & ~sum(CLOCK_REASONS)
    return ", ".join([*known, *([f"reason {unknown:#x}"] if unknown else [])]) or "nothing"


def read_card(uuid: str | None) -> CardState:
    """The state of the GPU with this identifier, by NVIDIA's library or else its tool; empty without either."""
    if uuid is None:
        return CardState()
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    return read_by_nvml(name) or read_by_nvidia_smi(name) or CardState()


def read_by_nvml(uuid: str) -> CardState | None:
    """Through pynvml (the package nvidia-ml-py), if it is there."""
    try:
        import pynvml

        nvml: Any = pynvml
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except Exception:  # not installed, no driver, no right to ask: all mean that it cannot tell
        return None

    def ask(name: str, *arguments: Any, scale: float = 1.0) -> float | None:
        value: float | None = _ask_safely(lambda: getattr(nvml, name)(handle, *arguments) * scale)
        return value

    driver = _ask_safely(nvml.nvmlSystemGetDriverVersion)
    return CardState(
        driver=driver.decode() if isinstance(driver, bytes) else driver,
        clock=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        highest_clock=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        memory_clock=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        power=ask("nvmlDeviceGetPowerUsage", scale=1e-3),
        power_limit=ask("nvmlDeviceGetEnforcedPowerLimit", scale=1e-3),
        temperature=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        reasons=_ask_safely(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        processes=_ask_safely(lambda: tuple(one.pid for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )


def read_by_nvidia_smi(uuid: str) -> CardState | None:
    """Through nvidia-smi, if it is on the path."""
    answer = _ask_nvidia_smi(uuid, "--query-gpu=" + ",".join(SMI_FIELDS))
    if answer is None:
        return None
    fields = split_words(answer)
    if len(fields) != len(SMI_FIELDS):
        return None
    held_back = (_ask_nvidia_smi(uuid, f"--query-gpu={name}") for name in SMI_REASON_FIELDS)
    mask = next((text for text in held_back if text is not None), "")
    processes = _ask_nvidia_smi(uuid, "--query-compute-apps=pid")
    driver, clock, highest, memory, power, limit, temperature = fields
    return CardState(
        driver=driver,
        clock=_parse_number(clock),
        highest_clock=_parse_number(highest),
        memory_clock=_parse_number(memory),
        power=_parse_number(power),
        power_limit=_parse_number(limit),
        temperature=_parse_number(temperature),
        reasons=_ask_safely(lambda: int(mask, 16)),
        processes=None if processes is None else tuple(_parse_pids(processes)),
    )


def _ask_nvidia_smi(uuid: str, query: str) -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, f"--id={uuid}", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _parse_pids(lines: str) -> Iterator[int]:
    for line in lines.splitlines():
        if line.strip().isdigit():
            yield int(line)


def _parse_number(text: str) -> float | None:
    """nvidia-smi writes "[N/A]" for what a card does not have."""
    try:
        return float(text)
    except ValueError:
        return None


def _list_attention_kernels() -> str:
    cuda: Any = torch.backends.cuda
    allowed = {
        "flash": cuda.flash_sdp_enabled(),
        "memory-efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "plain": cuda.math_sdp_enabled(),
    }
    return ", ".join(name for name, on in allowed.items() if on)


def _show_with_limit(value: float | None, most: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return f"{value:g} {unit}" if most is None else f"{value:g} of {most:g} {unit}"


def _ask_text(ask: Callable[[], Any]) -> str | None:
    """What was asked, as text; on and off for a switch."""
    value = _ask_safely(ask)
    if isinstance(value, bool):
        return "on" if value else "off"
    return None if value is None else str(value)


def _ask_safely(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:  # an older torch, driver or card does not know it; it is then left out
        return None
