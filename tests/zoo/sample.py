"""Sixty models that stand for all: 20 of timm, 20 of transformers, 20 of torchvision and of odd make, all small.

Other tests may run over them: `SAMPLE` holds what `archprof.profile` takes, and the inputs where they are not the
model's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ODD = Path(__file__).with_name("odd.py")


class Sampled(NamedTuple):
    """A MODEL, and its `--input`; `None`: its own."""

    spec: str
    inputs: str | None = None

    @property
    def name(self) -> str:
        """Without its place and its arguments."""
        return self.spec.partition("(")[0].rpartition(":")[2]


TIMM = (
    Sampled("timm:bat_resnext26ts", "3x256x256"),
    Sampled("timm:botnet26t_256", "3x256x256"),
    Sampled("timm:cait_xxs24_224(depth=2)"),
    Sampled("timm:coat_tiny", "3x224x224"),
    Sampled("timm:convnext_atto", "3x64x64"),
    Sampled("timm:crossvit_9_240"),
    Sampled("timm:deit3_small_patch16_224(depth=2)"),
    Sampled("timm:dla34", "3x64x64"),
    Sampled("timm:efficientnet_lite0", "3x64x64"),
    Sampled("timm:ghostnet_050", "3x64x64"),
    Sampled("timm:hrnet_w18_small", "3x64x64"),
    Sampled("timm:levit_128s"),
    Sampled("timm:mixer_s32_224"),
    Sampled("timm:mobilevit_xxs", "3x64x64"),
    Sampled("timm:nf_resnet26", "3x64x64"),
    Sampled("timm:pvt_v2_b0", "3x64x64"),
    Sampled("timm:regnetx_002", "3x64x64"),
    Sampled("timm:swinv2_cr_tiny_224"),
    Sampled("timm:tinynet_e", "3x106x106"),
    Sampled("timm:xcit_nano_12_p16_224(depth=2)"),
)

SMALL_TEXT = "hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=99"

TRANSFORMERS = (
    Sampled(f"hf:BertModel({SMALL_TEXT}, intermediate_size=64)"),
    Sampled(f"hf:RobertaModel({SMALL_TEXT}, intermediate_size=64)"),
    Sampled("hf:AlbertModel(hidden_size=32, embedding_size=16, num_attention_heads=4, intermediate_size=64)"),
    Sampled("hf:DistilBertModel(dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=99)"),
    Sampled("hf:GPT2LMHeadModel(n_embd=32, n_layer=2, n_head=4, vocab_size=99)"),
    Sampled("hf:GPTNeoXForCausalLM(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)"),
    Sampled("hf:OPTForCausalLM(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64)"),
    Sampled(f"hf:LlamaForCausalLM({SMALL_TEXT}, num_key_value_heads=2, intermediate_size=64)"),
    Sampled(f"hf:MistralForCausalLM({SMALL_TEXT}, num_key_value_heads=2, intermediate_size=64, sliding_window=16)"),
    Sampled(f"hf:MixtralForCausalLM({SMALL_TEXT}, num_key_value_heads=2, intermediate_size=64, num_local_experts=4)"),
    Sampled(f"hf:Qwen2ForCausalLM({SMALL_TEXT}, num_key_value_heads=2, intermediate_size=64)"),
    Sampled(f"hf:GemmaForCausalLM({SMALL_TEXT}, num_key_value_heads=1, head_dim=8, intermediate_size=64)"),
    Sampled(f"hf:FalconForCausalLM({SMALL_TEXT})"),
    Sampled("hf:T5ForConditionalGeneration(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99)"),
    Sampled("hf:LongT5ForConditionalGeneration(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99)"),
    Sampled("hf:WhisperForConditionalGeneration(d_model=30, encoder_layers=2, decoder_layers=2)"),
    Sampled("hf:ViTForImageClassification(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=32)"),
    Sampled("hf:CLIPModel(projection_dim=16)"),
    Sampled("hf:MambaForCausalLM(hidden_size=32, num_hidden_layers=2, vocab_size=99)"),
    Sampled("hf:Wav2Vec2Model(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, "
            "num_conv_pos_embedding_groups=4)"),
)  # fmt: skip

TORCHVISION = (
    Sampled("torchvision:alexnet", "3x64x64"),
    Sampled("torchvision:vgg11_bn", "3x32x32"),
    Sampled("torchvision:resnet18", "3x64x64"),
    Sampled("torchvision:googlenet", "3x64x64"),
    Sampled("torchvision:mobilenet_v3_small", "3x64x64"),
    Sampled("torchvision:shufflenet_v2_x0_5", "3x64x64"),
    Sampled("torchvision:efficientnet_b0", "3x64x64"),
    Sampled("torchvision:swin_v2_t", "3x64x64"),
    Sampled("torchvision:vit_b_32"),
    Sampled("torchvision:maxvit_t"),
    Sampled("torchvision:mc3_18", "3x4x32x32"),
    Sampled("torchvision:lraspp_mobilenet_v3_large", "3x64x64"),
    Sampled("torchvision:raft_small", None),
)

FACTORIES = ("recurrent", "tied", "functions", "fourier", "parametrised", "attending", "matrix_vector")

ODDITIES = tuple(Sampled(f"{ODD}:{factory}") for factory in FACTORIES)

SAMPLE = (*TIMM, *TRANSFORMERS, *TORCHVISION, *ODDITIES)
