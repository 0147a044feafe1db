"""Where and how passes ran: what is read as data has a type; sentences for people are made from it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ran:
    """Where and how.

    Attributes:
        device, device_name: "meta", "cpu" or "cuda", and what the device calls itself.
        threads, processors: that torch used at once, of so many that the process may use.
        dtype: that the pass ran in.
        autocast: the dtype that the forward was run under autocast to; `None`: it was not, unless by the model itself.
        tf32_matmul, tf32_cudnn: torch might round the factors of float32 products to TF32, in matrix products and in
            cuDNN.
        compiled: the model was compiled.
        gradients: of a forward that asks for some: "on" where they had to be turned on for it, "inside" where it does
            so itself, or was trained.
        versions: of archprof, torch and what else ran.
        details: what else the numbers depend on, in words: for people, and read by no code.
    """

    device: str = "meta"
    device_name: str = ""
    threads: int | None = None
    processors: int | None = None
    dtype: str | None = None
    autocast: str | None = None
    tf32_matmul: bool | None = None
    tf32_cudnn: bool | None = None
    compiled: bool | None = None
    gradients: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def allows_tf32(self) -> bool:
        """Whether float32 products might be those of TF32, which only NVIDIA's GPUs have."""
        return self.device == "cuda" and bool(self.tf32_matmul or self.tf32_cudnn)
