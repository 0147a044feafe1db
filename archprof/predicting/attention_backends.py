"""Which of torch's kernels runs an attention on CUDA, by the rules of aten/native/transformers/cuda/sdp_utils.cpp.

* flash: half precision, no mask, heads of at most 256;
* efficient: float32 or half precision, also with a mask; heads of a multiple of 4 in float32 (flash pads, it does not);
* math: everything else, and queries that are not four-dimensional. It keeps the scores.
"""

from __future__ import annotations

from typing import Literal

Backend = Literal["flash", "efficient", "math"]

HALVES = frozenset({"float16", "bfloat16"})
LARGEST_FLASH_HEAD = 256
EFFICIENT_STEP = 4


def choose_attention_backend(dims: int, dtype: str, head: int, *, masked: bool) -> Backend:
    """The kernel for queries of so many dimensions, of a dtype, and with heads of that size."""
    if dims != 4 or dtype not in HALVES | {"float32"}:
        return "math"
    if dtype in HALVES and not masked and head <= LARGEST_FLASH_HEAD:
        return "flash"
    step = EFFICIENT_STEP if dtype == "float32" else 2 * EFFICIENT_STEP
    return "math" if head % step else "efficient"
