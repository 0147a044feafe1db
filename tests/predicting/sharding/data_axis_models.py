"""Small models of the kinds that people shard, with odd sizes: each is made alike by archprof's side and by torch's.

Their attention is written out: the kernels that fuse it keep other things on a CPU than on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width + 1)
        self.down = nn.Linear(3 * width + 1, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Tied(nn.Module):
    """An embedding that is the head too, blocks of odd width, and one of them called a second time."""

    def __init__(self, width: int = 15, again: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(13, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(3)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 13, bias=False)
        self.head.weight = self.embed.weight
        self.again = again

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        if self.again:
            x = self.blocks[0](x)
        return self.head(self.norm(x))


class Frozen(nn.Module):
    """Blocks that do not train below ones that do, of which a part does not either."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(10) for _ in range(4)])
        self.head = nn.Linear(10, 3)
        self.blocks[0].requires_grad_(False)
        self.blocks[1].requires_grad_(False)
        self.blocks[3].up.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x))


class Unused(nn.Module):
    """A part that trains, as its script says, and that no forward comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(9) for _ in range(2)])
        self.spare = nn.Linear(9, 4)
        self.head = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x))


def make_unused() -> Made:
    return Unused(), (torch.zeros(40, 9),), {}


class Skips(nn.Module):
    """A way down and up again: what a block gives is read by the next and, later, by one of the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([Block(8) for _ in range(3)])
        self.up = nn.ModuleList([Two(8) for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = []
        for block in self.down:
            x = block(x)
            left.append(x)
        for block in self.up:
            x = block(x, left.pop())
        return self.head(x)


class Two(nn.Module):
    """Two tensors in, and a parameter that nothing reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * width, width)
        self.block = Block(width)
        self.unread = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.block(self.mix(torch.cat([x, y], -1)))


def make_skips() -> Made:
    return Skips(), (torch.zeros(5, 8),), {}


def make_t5() -> Made:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=51, d_model=20, d_kv=5, d_ff=30, num_layers=2, num_heads=3, dropout_rate=0.0, use_cache=False,
        attn_implementation="eager",
    )  # fmt: skip
    tokens = make_tokens(51)
    return T5ForConditionalGeneration(config), tokens, {"decoder_input_ids": tokens[0][:, :9], "return_dict": False}


def make_dense() -> Made:
    from torchvision.models import DenseNet

    return DenseNet(4, (2, 3), 6, 2, num_classes=3), (torch.zeros(2, 3, 32, 32),), {}


def make_tied() -> Made:
    return Tied(), (torch.zeros(2, 7, dtype=torch.int64),), {}


def make_straight() -> Made:
    return Tied(again=False), (torch.zeros(2, 7, dtype=torch.int64),), {}


def make_frozen() -> Made:
    return Frozen(), (torch.zeros(6, 10),), {}


def make_tokens(vocabulary: int, batch: int = 2, length: int = 16) -> tuple[Any, ...]:
    return (torch.arange(batch * length).reshape(batch, length) % vocabulary,)


def make_gpt2() -> Made:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=101, n_positions=32, n_embd=36, n_layer=3, n_head=3, use_cache=False, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config), make_tokens(101), {"return_dict": False}


def make_llama() -> Made:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=99, hidden_size=40, intermediate_size=70, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, use_cache=False, attn_implementation="eager",
    )  # fmt: skip
    return LlamaForCausalLM(config), make_tokens(99), {"return_dict": False}


def make_mixture() -> Made:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=51, hidden_size=24, intermediate_size=30, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2, max_position_embeddings=32, use_cache=False,
        experts_implementation="batched_mm", attn_implementation="eager",
    )  # fmt: skip
    return MixtralForCausalLM(config), make_tokens(51), {"return_dict": False}


def make_resnet() -> Made:
    from torchvision.models import resnet18

    return resnet18(num_classes=3), (torch.zeros(2, 3, 32, 32),), {}


def make_vit() -> Made:
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(img_size=32, patch_size=8, depth=3, num_heads=3, embed_dim=33, num_classes=5)
    for block in model.blocks:
        block.attn.fused_attn = False  # type: ignore[union-attr]
    return model, (torch.zeros(2, 3, 32, 32),), {}


MODELS = {
    "tied": make_tied,
    "straight": make_straight,
    "frozen": make_frozen,
    "unused": make_unused,
    "skips": make_skips,
    "t5": make_t5,
    "dense": make_dense,
    "gpt2": make_gpt2,
    "llama": make_llama,
    "mixture": make_mixture,
    "resnet": make_resnet,
    "vit": make_vit,
}
