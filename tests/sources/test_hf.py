"""`hf:`: names, configurations from files, default inputs, settings; nothing on the network."""

from __future__ import annotations

import json
import os
import socket

import pytest
import torch

import archprof
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.facts.request import PassRequest
from archprof.sources.hf import configs, inputs
from archprof.sources.hf.makers import InputRequest
from archprof.sources.resolve import resolve

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
WORDS = ", ".join(f"{key}={value}" for key, value in SMALL.items())


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("something was to be downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def skip_where_unknown(spec: str, added: str) -> None:
    """Older releases of transformers do not register every part of a model by itself."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if added in spec and added not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"this release has no {added}")


def params_of_llama(c: dict[str, int], heads_kv: int) -> int:
    """By hand: embedding and head, and in each layer q, k, v, o, three feed-forward matrices and two norms."""
    h, width = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"]
    layer = 2 * h * h + 2 * h * heads_kv * width + 3 * h * c["intermediate_size"] + 2 * h
    return 2 * c["vocab_size"] * h + c["num_hidden_layers"] * layer + h


@pytest.mark.parametrize("name", ["LlamaConfig", "LlamaForCausalLM", "llama"])
def test_a_class_an_architecture_and_a_type_name_the_same_model(name):
    profile = archprof.profile(f"hf:{name}({WORDS}, num_key_value_heads=2)")
    assert profile.totals.params == params_of_llama(SMALL, 2)
    assert profile.layers[0].kind == "LlamaForCausalLM"
    assert profile.ran.device == "meta"


@pytest.mark.parametrize("folder", [True, False])
def test_a_local_file_or_its_folder(tmp_path, folder):
    file = tmp_path / "config.json"
    transformers.LlamaConfig(**SMALL, num_key_value_heads=4, dtype="bfloat16").save_pretrained(tmp_path)
    profile = archprof.profile(f"hf:{tmp_path if folder else file}")
    assert (profile.totals.params, profile.dtype) == (params_of_llama(SMALL, 4), "bfloat16")
    fewer = archprof.profile(f"hf:{tmp_path if folder else file}(num_hidden_layers=1)")
    assert fewer.totals.params == params_of_llama(SMALL | {"num_hidden_layers": 1}, 4)


def test_a_file_names_its_architecture(tmp_path):
    data = {**transformers.BertConfig(**SMALL).to_dict(), "architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(data), encoding="utf-8")
    assert archprof.profile(f"hf:{tmp_path}").layers[0].kind == "BertForMaskedLM"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "names no model_type"),
        ('{"model_type": "no_such_type", "auto_map": {"AutoModel": "evil.Model"}}', "is not run"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArchprofError, match=words):
        archprof.profile(f"hf:{tmp_path}")


def test_code_beside_a_configuration_is_not_run(tmp_path):
    data = {**transformers.BertConfig(**SMALL).to_dict(), "auto_map": {"AutoModel": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    archprof.profile(f"hf:{tmp_path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("hf:LlamaConfg", UnknownName, "Near it: LlamaConfig"),
        ("hf:LlamaConfig(num_hiden_layers=2)", UsageError, "Did you mean num_hidden_layers="),
        ("hf:no/such/config.json", ArchprofError, "cannot be read"),
        ("hf:Trainer", UsageError, "neither a configuration nor an architecture"),
        ("hf:blip_text_model", UsageError, "a part of another"),
    ],
)
def test_what_is_no_model_is_said(spec, error, words):
    skip_where_unknown(spec, "blip_text_model")
    with pytest.raises(error, match=words):
        resolve(spec)


FIGURES = {
    "llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320, "llama-2-70b": 68_976_648_192,
    "llama-3.1-8b": 8_030_261_248, "llama-3.1-70b": 70_553_706_496, "llama-3.1-405b": 405_853_388_800,
    "mistral-7b": 7_241_732_096, "mixtral-8x7b": 46_702_792_704, "qwen2-0.5b": 494_032_768, "qwen2-7b": 7_615_616_512,
    "gemma-2b": 2_506_172_416, "gemma-7b": 8_537_680_896, "gpt2": 124_439_808, "gpt2-xl": 1_557_611_200,
    "opt-125m": 125_239_296, "mamba-130m": 129_135_360, "mamba-2.8b": 2_768_345_600, "bert-base": 109_482_240,
    "bert-large": 335_141_888, "distilbert-base": 66_362_880, "roberta-base": 124_645_632, "t5-small": 60_506_624,
    "t5-base": 222_903_552, "whisper-tiny": 37_760_640, "whisper-small": 241_734_912, "vit-base": 86_567_656,
    "clip-vit-b-32": 151_277_313,
    # 671,026,419,200 with the 58 x 256 corrections of the router, which are buffers here.
    "deepseek-v3": 671_026_419_200 - 58 * 256,
}  # fmt: skip
"""Parameters of the published checkpoints, tied ones once, as their model cards and safetensors headers give them."""


@pytest.mark.parametrize("name", configs.load_ready_configs())
def test_ready_names_have_the_published_parameters(name):
    model = resolve(f"hf:{name}").model
    assert sum(parameter.numel() for parameter in model.parameters()) == FIGURES[name]
    assert all(parameter.is_meta for parameter in model.parameters())


def test_every_ready_name_has_its_source_and_can_be_changed():
    assert FIGURES.keys() == configs.load_ready_configs().keys()
    assert all(entry.source for entry in configs.load_ready_configs().values())
    changed = resolve("hf:llama-2-7b(num_hidden_layers=3)").model
    assert changed.config.num_hidden_layers == 3
    assert changed.config.max_position_embeddings == 4096


def shapes(spec: str, **options) -> dict[str, tuple[int, ...]]:
    target = resolve(spec, None, PassRequest(**options))
    return {
        name: (value.full_shape(options.get("batch", 1)) if hasattr(value, "full_shape") else tuple(value.shape))
        for name, value in target.kwargs.items()
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [  # lengths as the processors of these models give them, or 128 tokens
        (f"hf:BertModel({WORDS})", {"input_ids": (2, 128), "attention_mask": (2, 128), "token_type_ids": (2, 128)}),
        (
            f"hf:BertModel({WORDS}, max_position_embeddings=40)",
            {"input_ids": (2, 40), "attention_mask": (2, 40), "token_type_ids": (2, 40)},
        ),
        (
            "hf:T5Config(num_layers=1)",
            {"input_ids": (2, 128), "attention_mask": (2, 128), "decoder_input_ids": (2, 128)},
        ),
        ("hf:whisper-tiny", {"input_features": (2, 80, 3000), "decoder_input_ids": (2, 128)}),
        ("hf:clip-vit-b-32", {"input_ids": (2, 77), "attention_mask": (2, 77), "pixel_values": (2, 3, 224, 224)}),
        ("hf:vit-base(image_size=384)", {"pixel_values": (2, 3, 384, 384)}),
        ("hf:Wav2Vec2Model", {"input_values": (2, 16000)}),
        ("hf:VideoMAEConfig", {"pixel_values": (2, 16, 3, 224, 224)}),
        ("hf:qwen2_5_vl_vision(depth=1)", {"hidden_states": (512, 1176), "grid_thw": (2, 3)}),
        ("hf:LlavaConfig", {"input_ids": (2, 128), "attention_mask": (2, 128)}),
    ],
)
def test_default_inputs_of_the_families(spec, expected):
    skip_where_unknown(spec, "qwen2_5_vl_vision")
    assert shapes(spec, batch=2) == expected


def test_token_ids_stay_below_the_vocabulary():
    assert resolve(f"hf:BertModel({WORDS})").kwargs["input_ids"].high == 99


def test_settings_change_the_length_and_the_cost():
    spec = f"hf:BertModel({WORDS})"
    short, long = (archprof.profile(spec, set={"seq": seq}).totals for seq in (16, 32))
    h, f, layers = 32, 64, SMALL["num_hidden_layers"]

    def macs(seq: int) -> int:  # four projections, two feed-forward matrices, scores and their sum, and the pooler
        return layers * (seq * (4 * h * h + 2 * h * f) + 2 * seq * seq * h) + h * h

    assert (short.macs, long.macs) == (macs(16), macs(32))
    both = archprof.profile("hf:T5Config(num_layers=1)", set={"seq": 8, "decoder_seq": 3})
    assert both.inputs == (
        "input_ids=int64:8<32128",
        "attention_mask=int64:8>=1<2",
        "decoder_input_ids=int64:3<32128",
    )


@pytest.mark.parametrize(
    ("spec", "settings", "words"),
    [
        (f"hf:BertModel({WORDS})", {"sequence": 3}, "no setting called 'sequence'"),
        (f"hf:BertModel({WORDS})", {"frames": 3}, "has no frames to set"),
        ("alexnet", {"seq": 3}, "no settings and no phases"),
    ],
)
def test_settings_that_are_none(spec, settings, words):
    with pytest.raises(UsageError, match=words):
        archprof.profile(spec, set=settings)


def test_the_environment_and_the_library_are_as_they_were():
    from huggingface_hub import constants

    before = dict(os.environ), constants.HF_HUB_OFFLINE, transformers.logging.get_verbosity()
    archprof.profile(f"hf:BertModel({WORDS})")
    assert before == (dict(os.environ), constants.HF_HUB_OFFLINE, transformers.logging.get_verbosity())


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ArchprofError, match="pip install transformers"):
        resolve("hf:bert-base")


def test_every_setting_is_read_by_some_maker():
    model = torch.nn.Module()
    model.config = transformers.WhisperConfig()
    model.forward = lambda input_ids: None
    wanted = InputRequest(model, 1, {})
    for maker in inputs.MAKER_BY_ARGUMENT.values():
        maker(wanted)
    assert wanted.settings_read == set(inputs.LENGTH_SETTINGS)
