"""Memory of Llama 3.1 that torchtitan published, beside what `archprof.shard` says: `python tests/prediction/titan.py`.

What the script does as torchtitan did at the end of 2024 (its train_configs/llama3_*.toml):

* `fully_shard` by layers in bfloat16, kept and reduced in float32, AdamW; the loss in float32 over flat logits.
* Selective checkpoints are those of single ops: of each layer the outputs of attention and of every second product are
  kept (torchtitan/parallelisms/parallelize_llama.py, `_get_custom_policy`).
* 405B: as many microbatches as stages, torchtitan's default; a batch of 32 is 8 microbatches of 4.

What differs: compiled rows fuse the loss and norms, float8 rows keep products in 8 bits, AsyncTP cuts gathers into
pieces, and tensor parallelism here gathers the sequence where torchtitan's shards it. Context parallel is not modelled.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))


GIB = 1 << 30
DATA = Path(__file__).parent / "data" / "memory_torchtitan.csv"


class Titan(NamedTuple):
    """One published row: `predicted` is `None` where it is not covered, for `reason`."""

    what: str
    measured: float
    predicted: float | None
    reason: str


class WithLoss(nn.Module):
    """A language model and its loss, as torchtitan computes it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.model(tokens, use_cache=False).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(0, 1))
