"""Lists the kernels of every pass that was measured: `python tests/prediction/trace_latency.py` writes works.json.gz.

With a pattern, only passes whose key it matches are traced anew, and the others kept.

All of timm's models are traced on meta at the sizes of the measurements, which takes a quarter of an hour; after that,
scores need neither torch nor timm. A pass that today's libraries cannot build is left out.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm.layers.norm
import timm.layers.norm_act
import torch
from timm.layers import set_fast_norm, set_fused_attn
from timm.layers.fast_norm import fast_group_norm
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

import archprof
from archprof.facts.records import Profile
from archprof.predicting.latency.works import Work
from prediction.kept_gradients import list_counts_with_kept_gradients
from prediction.latency_counts import list_counts
from prediction.latency_language_model import LanguageModel
from prediction.latency_rows import DATA, read_csv, read_passes

Trace = Callable[[], Profile]

LLAMA = {"num_hidden_layers": 40, "hidden_size": 5120, "num_attention_heads": 40, "intermediate_size": 13824}
LARGE = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}


def list_traces() -> Iterator[tuple[str, Trace]]:
    """Every pass by its key, and how to trace it."""
    yield from _list_timm()
    yield from _list_torchvision()
    yield from _list_lambda()
    yield from _list_neusight()
    yield from _list_language_models()
    for batch in (1, 2, 4, 8, 16, 32):
        for phase, context in (("prefill", 256), ("decode", 512)):
            options: dict[str, Any] = {"batch": batch, "phase": phase, "context": context, "dtype": "float16"}
            yield (
                f"llama2|{phase}|{batch}",
                lambda options=options: archprof.profile(_build(LlamaForCausalLM, LlamaConfig(**LLAMA)), **options),
            )


def _list_timm() -> Iterator[tuple[str, Trace]]:
    for row in read_csv("timm_gpu.csv.gz"):
        fused = row["torch"] in ("pt240", "pt210")
        key = "|".join((row["model"], row["image"], row["batch"], row["mode"], "fused" if fused else "written out"))
        yield key, lambda row=row, fused=fused: _trace_timm(row, fused)


def _normalize_groups(x: torch.Tensor, *args: Any) -> torch.Tensor:
    """timm's own for half precision; outside of a trace it knows no meta, where a hybrid runs while it is built."""
    try:
        return fast_group_norm(x, *args)
    except RuntimeError:
        return torch.nn.functional.group_norm(x, *args)


def _trace_timm(row: dict[str, str], fused: bool) -> Profile:
    """Inference has its norms of groups in half precision: the times leave no room for float32's bytes."""
    set_fused_attn(fused)
    set_fast_norm(row["mode"] != "train")
    timm.layers.norm.fast_group_norm = timm.layers.norm_act.fast_group_norm = _normalize_groups
    train = {"train": True, "optimizer": "sgd(momentum=0.9)"} if row["mode"] == "train" else {}
    shape, batch = [f"3x{row['image']}x{row['image']}"], int(row["batch"])
    return archprof.profile(row["model"], shape, batch=batch, amp="float16", **train)  # type: ignore[arg-type]


def _list_torchvision() -> Iterator[tuple[str, Trace]]:
    for model in sorted({row["model"] for row in read_csv("torchvision_gpus.csv.gz")}):
        for dtype in ("float32", "float16"):
            for mode in ("infer", "train"):
                options: dict[str, Any] = {"batch": 12, "dtype": dtype, "train": mode == "train"}
                trace = lambda model=model, options=options: archprof.profile(model, ["3x224x224"], **options)  # noqa: E731
                yield f"{model}|{dtype}|{mode}", trace


def _list_lambda() -> Iterator[tuple[str, Trace]]:
    """NVIDIA's ResNet-50 and BERT; the latter with its weights in half precision, as apex had it."""
    for row in read_csv("lambda_train.csv"):
        half, batch = not row["dtype"].startswith("float32"), int(row["batch"])
        key = "|".join(("lambda", row["net"], row["batch"], "half" if half else "full"))
        yield key, lambda net=row["net"], batch=batch, half=half: _trace_lambda(net, batch, half)


def _trace_lambda(net: str, batch: int, half: bool) -> Profile:
    if net == "resnet50":
        options: dict[str, Any] = {"optimizer": "sgd(momentum=0.9)", "amp": "float16" if half else None}
        return archprof.profile("torchvision:resnet50", ["3x224x224"], batch=batch, train=True, **options)
    model = _build(BertForQuestionAnswering, BertConfig(**(LARGE if "large" in net else {})))
    options = {"optimizer": "adamw(fused=True)", "dtype": "float16" if half else None}
    return archprof.profile(model, (_tokens(batch, 384),), train=True, **options)


NEUSIGHT_MODELS: dict[str, Callable[[], Any]] = {
    "bert_large": lambda: _build(BertModel, BertConfig(**LARGE)),
    "gpt2_large": lambda: _build(GPT2LMHeadModel, GPT2Config(n_layer=36, n_embd=1280, n_head=20)),
    "gpt3_xl": lambda: _build(GPT2LMHeadModel, GPT2Config(n_layer=24, n_embd=2048, n_head=16, n_positions=2048)),
    "gpt3_27": lambda: _build(GPT2LMHeadModel, GPT2Config(n_layer=32, n_embd=2560, n_head=32, n_positions=2048)),
    "opt_13": lambda: _build(OPTForCausalLM, OPTConfig(num_hidden_layers=24, hidden_size=2048, num_attention_heads=32,
                                                       ffn_dim=8192, word_embed_proj_dim=2048)),
}  # fmt: skip


def _list_neusight() -> Iterator[tuple[str, Trace]]:
    for row in read_csv("neusight_e2e.csv"):
        if row["variant"] == "eager" and row["config"] in NEUSIGHT_MODELS:
            tokens = (int(row["batch"]), int(row["seq"]))
            key = "|".join(("e2e", row["config"], row["mode"], row["seq"], row["batch"]))
            yield (
                key,
                lambda row=row, tokens=tokens: archprof.profile(
                    NEUSIGHT_MODELS[row["config"]](), (_tokens(*tokens),), train=row["mode"] == "train"
                ),
            )


def _list_language_models() -> Iterator[tuple[str, Trace]]:
    for row in read_csv("cs336_lm.csv"):
        key = "|".join(("cs336", row["size"], row["context"], row["what"]))
        yield key, lambda row=row: _trace_language_model(row)


def _trace_language_model(row: dict[str, str]) -> Profile:
    with torch.device("meta"):
        model = LanguageModel(*(int(row[name]) for name in ("d_model", "d_ff", "layers", "heads")))
    train: dict[str, Any] = {} if row["what"] == "forward" else {"train": True}
    if "step" in row["what"]:
        train["optimizer"] = "adamw(foreach=False)"
    return archprof.profile(model, (_tokens(int(row["batch"]), int(row["context"])),), **train)


def _build(model: Any, config: Any) -> Any:
    config._attn_implementation = "eager"
    with torch.device("meta"):
        return model(config)


def _tokens(batch: int, length: int) -> torch.Tensor:
    return torch.zeros(batch, length, dtype=torch.int64, device="meta")


def _flatten(works: dict[Work, int], index: dict[Work, int]) -> list[int]:
    """Kernel, count, kernel, count …, by the numbers of kernels, which are given here."""
    return [value for work, count in works.items() for value in (index.setdefault(work, len(index)), count)]


def _list_counts(key: str, profile: Profile) -> tuple[dict[Work, int], list[int]]:
    """Steps of torchvision's nets and of timm's ran before torch 2.0."""
    kept = profile.mode == "train" and key.startswith(("torchvision:", "timm:"))
    return list_counts_with_kept_gradients(profile) if kept else list_counts(profile)


def write_works(passes: dict[str, tuple[dict[Work, int], list[int]]]) -> None:
    """All kernels column by column, and the passes by their numbers."""
    index: dict[Work, int] = {}
    listed = {key: [_flatten(works, index), launches] for key, (works, launches) in passes.items()}
    kinds, dtypes = sorted({work.kind for work in index}), sorted({work.dtype for work in index})
    rows = [
        (kinds.index(work.kind), dtypes.index(work.dtype), work.macs, work.flops, work.read, work.written, *work.sizes,
         work.area, work.tensors, int(work.permuted), work.patches, work.row)
        for work in index
    ]  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)]
    made = {"kinds": kinds, "dtypes": dtypes, "works": columns, "profiles": listed}
    raw = json.dumps(made, separators=(",", ":")).encode()
    (DATA / "works.json.gz").write_bytes(gzip.compress(raw, 9, mtime=0))


def read_counts() -> dict[str, tuple[dict[Work, int], list[int]]]:
    """What was listed before."""
    works, passes = read_passes()
    return {
        key: ({works[one]: count for one, count in zip(listed[::2], listed[1::2], strict=True)}, launches)
        for key, (listed, launches) in passes.items()
    }


def main(words: list[str]) -> None:
    passes = {key: found for key, found in read_counts().items() if not re.search(words[0], key)} if words else {}
    failed: set[str] = set()
    for key, trace in list_traces():
        if key in passes or key in failed or (words and not re.search(words[0], key)):
            continue
        try:
            passes[key] = _list_counts(key, trace())
        except Exception as error:
            failed.add(key)
            print(f"{key}: {error}", file=sys.stderr)
    write_works(passes)


if __name__ == "__main__":
    main(sys.argv[1:])
