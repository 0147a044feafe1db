"""Memory of Llama 3.1 that torchtitan published, beside what `archprof shard` says: `python tests/prediction/titan.py`.

What is laid out is what its scripts did at the end of 2024 (torchtitan@9dec370, train_configs/llama3_*.toml):

* `fully_shard` by layers in bfloat16, kept and reduced in float32, AdamW; tensor, sequence and loss parallel.
* Selective checkpoints are those of single ops: of each layer what attention returns, and every second product, are
  kept (parallelize_llama.py, `_get_custom_policy`), which is put into the traced step here.
* As many microbatches as ranks of the pipeline, its default: 8 of 4 samples. It collects what the last stage returns.

Compiled rows differ by what the compiler fuses, in the loss first of all; float8 rows by products in 8 bits; AsyncTP by
how gathers are cut into pieces. Context parallel is not covered.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

import archprof
from archprof.facts.records import Profile
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.mesh import parse_mesh
from archprof.predicting.sharding.pipeline import PipelineOptions
from archprof.predicting.sharding.plan import Plan, make_plan
from archprof.predicting.sharding.shard import Sharded, ShardOptions, shard_profile
from archprof.sources.hf.configs import choose_config

GIB = 1 << 30
DATA = Path(__file__).parent / "data" / "memory_torchtitan.csv"
LAYERS = "model.model.layers.*"
PIPELINE_MICROBATCHES = 8

TITAN_PLAN = {
    "model.model.embed_tokens": {"style": "embedding_rowwise", "output": "shard(1)"},
    f"{LAYERS}.input_layernorm": "sequence_parallel",
    f"{LAYERS}.post_attention_layernorm": "sequence_parallel",
    "model.model.norm": "sequence_parallel",
    f"{LAYERS}.self_attn": {"style": "prepare_input", "input": "shard(1)"},
    f"{LAYERS}.mlp": {"style": "prepare_input", "input": "shard(1)"},
    **{f"{LAYERS}.self_attn.{name}_proj": "colwise" for name in "qkv"},
    **{f"{LAYERS}.mlp.{name}_proj": "colwise" for name in ("gate", "up")},
    f"{LAYERS}.self_attn.o_proj": {"style": "rowwise", "output": "shard(1)"},
    f"{LAYERS}.mlp.down_proj": {"style": "rowwise", "output": "shard(1)"},
    "model.lm_head": {"style": "colwise", "input": "shard(1)", "output": "shard(-1)"},
}


class TitanRow(NamedTuple):
    """One published row, in GiB reserved; `predicted` is `None` where it is not covered."""

    what: str
    measured: float
    predicted: float | None
    remark: str

    def __str__(self) -> str:
        if self.predicted is None:
            return f"{self.what:<66} {self.measured:>8.1f} {'':>8} {'':>7}  {self.remark}"
        error = self.predicted / self.measured - 1
        return f"{self.what:<66} {self.measured:>8.1f} {self.predicted:>8.1f} {error:>7.1%}  {self.remark}"


class WithLoss(nn.Module):
    """A language model and its loss, as torchtitan computes it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.model(tokens, use_cache=False).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(0, 1))


@cache
def trace(name: str, batch: int, tokens: int) -> Profile:
    """A step of a model with its loss, in bfloat16, each layer under a checkpoint."""
    choice = choose_config(name, {})
    with torch.device("meta"):
        model = WithLoss(choice.architecture(choice.config))
    ids = torch.empty(batch, tokens, dtype=torch.int64, device="meta")
    return archprof.profile(
        model, (ids, ids), train=True, optimizer="adamw", dtype="bfloat16", checkpoint=[LAYERS]
    )  # fmt: skip


def keep_selected(profile: Profile) -> Profile:
    """What selective checkpoints of single ops keep: of each layer attention's results and every second product.

    They live until the last op of the backward of their layer, which does not run them again.
    """
    layers = [profile.modules[call.module].path for call in profile.calls]
    names = [(re.match(r"model\.model\.layers\.\d+", path) or [""])[0] for path in layers]
    last = {names[op.call]: at for at, op in enumerate(profile.ops) if op.phase == "backward"}
    storages, products = list(profile.storages), dict.fromkeys(names, 0)
    for op in profile.ops:
        name = names[op.call]
        if op.phase != "forward" or not name:
            continue
        kept = op.name == "aten.scaled_dot_product_attention"
        if op.name == "aten.mm":
            products[name] += 1
            kept = products[name] % 2 == 1
        for tensor in op.outputs if kept else ():
            at = profile.tensors[tensor].storage
            storages[at] = storages[at]._replace(died=last[name], saved=True)
    return replace(profile, storages=tuple(storages))


def lay_out(row: dict[str, str]) -> Sharded:
    """The step of a row, over its mesh."""
    sizes = dict(re.findall(r"(FSDP|TP|PP) (\d+)", row["parallelism"]))
    mesh = parse_mesh(",".join(f"{axis.lower()}={size}" for axis, size in sizes.items()))
    microbatches = PIPELINE_MICROBATCHES if mesh.pp > 1 else 1
    schedule = "interleaved" if "interleaved" in row["parallelism"] else "1f1b"
    profile = trace(row["model"], int(row["local_batch"]) // microbatches, int(row["seq"]))
    if row["activation_checkpointing"] == "selective":
        profile = keep_selected(profile)
    data = DataOptions(param_dtype="bfloat16", reduce_dtype="float32", units=(LAYERS,))
    plan: Plan | None = make_plan(TITAN_PLAN) if mesh.tp > 1 else None
    return shard_profile(profile, mesh, ShardOptions(PipelineOptions(microbatches, schedule, "count"), data, plan))


def list_rows() -> Iterator[TitanRow]:
    """Every published row, with ours beside it."""
    with DATA.open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    known: dict[tuple[str, ...], float] = {}
    for row in rows:
        what = f"{row['model']}, {row['parallelism']}, batch {row['local_batch']}, {row['activation_checkpointing']}"
        measured = float(row["peak_memory_GiB_reserved"])
        differs = [name for name in ("compile", "float8") if row[name] == "yes"]
        remark = f"measured with {' and '.join(differs)}" if differs else ""
        if re.search(r"CP [2-9]", row["parallelism"]):
            yield TitanRow(what, measured, None, "context parallel is not covered")
            continue
        key = (row["model"], row["parallelism"].replace(" AsyncTP", ""), row["local_batch"], row["seq"])
        if key not in known:
            known[key] = lay_out(row).largest.memory.reserved_peak_bytes.value / GIB
        yield TitanRow(what, measured, known[key], remark)


def main() -> None:
    print(f"{'peak reserved [GiB]':<66} {'measured':>8} {'ours':>8} {'error':>7}")
    for row in list_rows():
        print(row, flush=True)


if __name__ == "__main__":
    main()
