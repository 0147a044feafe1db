"""Small models that torch and transformers split over ranks, and the same plans for archprof."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

BATCH, TOKENS, WIDTH, HEADS = 4, 32, 64, 8


class Case(NamedTuple):
    """A model, and how it is split.

    Attributes:
        build: the model.
        split: splits it over a mesh.
        plan: the same for archprof; `None`: the model's own.
        image: it reads images, and not tokens.
        axis: of the mesh, over which it is split.
    """

    build: Callable[[], nn.Module]
    split: Callable[[nn.Module, Any], None]
    plan: Mapping[str, Any] | None
    image: bool = False
    axis: str = "tp"

    def make_inputs(self) -> tuple[torch.Tensor, ...]:
        if self.image:
            return (torch.zeros(BATCH, 3, 32, 32),)
        return (torch.zeros(BATCH, TOKENS, dtype=torch.int64),)


class Attention(nn.Module):
    """Reads the number of its heads from what its layers give."""

    def __init__(self, *, bias: bool, causal: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=bias) for _ in range(4))
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = WIDTH // HEADS
        q, k, v = (
            layer(x).view(x.shape[0], x.shape[1], -1, size).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.o(y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1))


class MLP(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, hidden), nn.Linear(hidden, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(functional.gelu(self.up(x)))


class Block(nn.Module):
    def __init__(self, hidden: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.mlp = Attention(bias=True, causal=causal), MLP(hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """As GPT-2: learned positions, LayerNorm, biases, and a head that is the table of tokens."""

    def __init__(self, hidden: int = 4 * WIDTH, vocabulary: int = 250) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block(hidden, causal=True) for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.zeros(1, 17, WIDTH))
        self.blocks = nn.ModuleList(Block(4 * WIDTH, causal=False) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


BLOCK_PLAN = {
    **{f"blocks.*.attention.{name}": "colwise" for name in "qkv"},
    "blocks.*.attention.o": "rowwise",
    "blocks.*.mlp.up": "colwise",
    "blocks.*.mlp.down": "rowwise",
}


def _split_blocks(model: nn.Module, mesh: Any) -> None:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    plan = {
        **{f"blocks.*.attention.{name}": ColwiseParallel() for name in "qkv"},
        "blocks.*.attention.o": RowwiseParallel(),
        "blocks.*.mlp.up": ColwiseParallel(),
        "blocks.*.mlp.down": RowwiseParallel(),
    }
    parallelize_module(model, mesh, plan)


def _split_gpt(model: nn.Module, mesh: Any) -> None:
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    _split_blocks(model, mesh)
    parallelize_module(
        model,
        mesh,
        {
            "tokens": RowwiseParallel(input_layouts=Replicate()),
            "positions": ColwiseParallel(output_layouts=Replicate()),
            "head": ColwiseParallel(output_layouts=Replicate()),
        },
    )


GPT_PLAN = {
    **BLOCK_PLAN,
    "tokens": "rowwise",
    "positions": {"style": "colwise", "output": "replicate"},
    "head": {"style": "colwise", "output": "replicate"},
}


def _split_sequence(model: nn.Module, mesh: Any) -> None:
    """The residual stream is cut along the sequence, as in torchtitan."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        PrepareModuleInput,
        RowwiseParallel,
        SequenceParallel,
        parallelize_module,
    )

    gather = PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),))
    plan = {
        "tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
        "blocks.*.norm1": SequenceParallel(),
        "blocks.*.norm2": SequenceParallel(),
        "blocks.*.attention": gather,
        **{f"blocks.*.attention.{name}": ColwiseParallel() for name in "qkv"},
        "blocks.*.attention.o": RowwiseParallel(output_layouts=Shard(1)),
        "blocks.*.mlp": gather,
        "blocks.*.mlp.up": ColwiseParallel(),
        "blocks.*.mlp.down": RowwiseParallel(output_layouts=Shard(1)),
        "norm": SequenceParallel(),
        "head": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),
    }
    parallelize_module(model, mesh, plan)


SEQUENCE_PLAN = {
    "tokens": {"style": "rowwise", "output": "shard(1)"},
    "blocks.*.norm1": {"style": "sequence_parallel", "local": False},
    "blocks.*.norm2": {"style": "sequence_parallel", "local": False},
    "blocks.*.attention": {"style": "prepare_input", "input": "shard(1)"},
    **{f"blocks.*.attention.{name}": "colwise" for name in "qkv"},
    "blocks.*.attention.o": {"style": "rowwise", "output": "shard(1)"},
    "blocks.*.mlp": {"style": "prepare_input", "input": "shard(1)"},
    "blocks.*.mlp.up": "colwise",
    "blocks.*.mlp.down": {"style": "rowwise", "output": "shard(1)"},
    "norm": {"style": "sequence_parallel", "local": False},
    "head": {"style": "colwise", "input": "shard(1)", "output": "replicate"},
}


class Stream(GPT):
    """A GPT without learned positions."""

    def __init__(self) -> None:
        super().__init__()
        del self.positions

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def _build_llama(**changes: Any) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = {
        "hidden_size": WIDTH, "intermediate_size": 100, "num_hidden_layers": 2, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "vocab_size": 250, "max_position_embeddings": 64,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**(config | changes)))


def _build_qwen() -> nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=WIDTH, intermediate_size=100, num_hidden_layers=2, num_attention_heads=HEADS, head_dim=8,
            num_key_value_heads=HEADS, vocab_size=250, max_position_embeddings=64,
        )
    )  # fmt: skip


def _build_mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    model = MixtralForCausalLM(
        MixtralConfig(
            hidden_size=WIDTH, intermediate_size=128, num_hidden_layers=2, num_attention_heads=HEADS,
            num_key_value_heads=HEADS, vocab_size=256, max_position_embeddings=64, num_local_experts=8,
            num_experts_per_tok=2,
        )
    )  # fmt: skip
    return model.to(torch.bfloat16)


def _split_by_its_plan(model: nn.Module, mesh: Any) -> None:
    from transformers.distributed.tensor_parallel import apply_tensor_parallelism

    head, table = model.lm_head, model.model.embed_tokens
    is_tied = head.weight is table.weight
    if is_tied:  # transformers ties weights after it has split them
        head.weight = nn.Parameter(head.weight.detach().clone())
    apply_tensor_parallelism(model, mesh, model._expand_parallel_plan(model.tp_plan))
    if is_tied:
        head.weight = table.weight


def _deal_experts(model: nn.Module, mesh: Any) -> None:
    """Every expert is chosen as often as any other, and gets as much from other ranks as it would from this one."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from transformers.distributed import expert_parallel

    def send(received: torch.Tensor, sent: torch.Tensor, group: Any = None) -> None:
        dist.all_to_all_single(received, sent, group=group)
        received.copy_(sent)

    def choose_in_turn(_: nn.Module, args: Any, given: Any) -> Any:
        *others, chosen = given
        return (*others, (torch.arange(chosen.numel()) % model.config.num_local_experts).view_as(chosen))

    expert_parallel.all_to_all_single = send
    both = init_device_mesh("cpu", (mesh.size(), 1), mesh_dim_names=("ep", "tp"))
    plan = model._expand_parallel_plan(model.ep_plan)
    expert_parallel.apply_expert_parallelism(model, both["ep"], both["tp"], plan)
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(choose_in_turn)


CASES = {
    "gpt": Case(GPT, _split_gpt, GPT_PLAN),
    "sequence": Case(Stream, _split_sequence, SEQUENCE_PLAN),
    "vit": Case(ViT, _split_blocks, BLOCK_PLAN, image=True),
    "llama": Case(_build_llama, _split_by_its_plan, None),
    "llama of few keys": Case(lambda: _build_llama(num_key_value_heads=4), _split_by_its_plan, None),
    "llama of one table": Case(lambda: _build_llama(tie_word_embeddings=True), _split_by_its_plan, None),
    "norms of heads": Case(_build_qwen, _split_by_its_plan, None),
    "mixtral": Case(_build_mixtral, _split_by_its_plan, None),
    "experts": Case(_build_mixtral, _deal_experts, None, axis="ep"),
}
