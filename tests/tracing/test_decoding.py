"""Phases of a decoder against formulas by hand and published sizes of caches."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.tables import decoding
from archprof.analysis.tables.notes import collect_notes as notes_of
from archprof.errors import ArchprofError, UsageError
from archprof.facts.store import from_json
from archprof.sources.hf import caches

transformers = pytest.importorskip("transformers")

H, LAYERS, HEADS, FF, VOCAB = 32, 3, 4, 64, 99
SMALL = f"hidden_size={H}, num_hidden_layers={LAYERS}, num_attention_heads={HEADS}, vocab_size={VOCAB}"


def llama(kv: int) -> str:
    return f"hf:LlamaForCausalLM({SMALL}, intermediate_size={FF}, num_key_value_heads={kv})"


def macs_of_layers(tokens: int, seen: int, kv: int) -> int:
    """By hand: q and o, k and v, three feed-forward matrices, scores of `tokens` against `seen`, and their sum."""
    width = H // HEADS
    return LAYERS * (tokens * (2 * H * H + 2 * H * kv * width + 3 * H * FF) + 2 * tokens * seen * H)


def macs_of_angles(tokens: int) -> int:
    """Positions times frequencies, once for all layers and sequences: a matrix product in older transformers."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    return tokens * (H // HEADS // 2) * (" @ " in inspect.getsource(LlamaRotaryEmbedding.forward))


@pytest.mark.parametrize("kv", [4, 2, 1])
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_decode_is_one_token_against_the_cache(kv, dtype, size, batch):
    context = 50
    profile = archprof.profile(llama(kv), phase="decode", context=context, dtype=dtype, batch=batch)
    profile.check()
    assert profile.totals.macs == batch * (macs_of_layers(1, context + 1, kv) + H * VOCAB) + macs_of_angles(1)
    facts = profile.decoding
    token = 2 * LAYERS * kv * (H // HEADS) * size * batch
    assert (facts.context, facts.nbytes, facts.growth) == (context, context * token, token)
    assert profile.ran.device == "meta"


@pytest.mark.parametrize("kv", [4, 1])
def test_prefill_is_the_context_at_once(kv):
    profile = archprof.profile(llama(kv), phase="prefill", context=50)
    assert profile.totals.macs == macs_of_layers(50, 50, kv) + 50 * H * VOCAB + macs_of_angles(50)
    assert profile.decoding.nbytes == 50 * 2 * LAYERS * kv * (H // HEADS) * 4


@pytest.mark.parametrize(("context", "kept", "growth"), [(5, 5, True), (15, 15, False), (40, 15, False)])
def test_a_sliding_window_keeps_all_but_the_new_token_of_it(context, kept, growth):
    spec = f"hf:MistralForCausalLM({SMALL}, intermediate_size={FF}, num_key_value_heads=2, sliding_window=16)"
    profile = archprof.profile(spec, phase="decode", context=context)
    token = 2 * LAYERS * 2 * (H // HEADS) * 4
    assert (profile.decoding.nbytes, profile.decoding.growth) == (kept * token, token * growth)


def test_a_recurrent_decoder_keeps_states_that_do_not_grow():
    spec = "hf:MambaForCausalLM(hidden_size=32, num_hidden_layers=2, vocab_size=99)"
    facts = [archprof.profile(spec, phase="decode", context=context).decoding for context in (8, 16)]
    inner, state, kernel = 64, 16, 4  # its defaults: twice the width, 16 states a channel, a window of 4
    assert facts[0].nbytes == facts[1].nbytes == 2 * inner * (state + kernel) * 4
    assert [each.growth for each in facts] == [0, 0]


@pytest.mark.parametrize(
    ("name", "context", "published"),
    [  # GiB in 16 bits: "Llama 3.1 - 405B, 70B & 8B with multilinguality and long context", huggingface.co/blog/llama31
        ("llama-3.1-8b", 16_000, 1.95),
        ("llama-3.1-8b", 128_000, 15.62),
        ("llama-3.1-70b", 16_000, 4.88),
        ("llama-3.1-70b", 128_000, 39.06),
    ],
)
def test_published_sizes_of_caches(name, context, published):
    facts = archprof.profile(f"hf:{name}", phase="decode", context=context).decoding
    assert facts.nbytes / 2**30 == pytest.approx(published, abs=0.006)


def test_experts_of_a_decoded_token():
    spec = f"hf:MixtralForCausalLM({SMALL}, intermediate_size={FF}, num_key_value_heads=2, num_local_experts=4)"
    profile = archprof.profile(spec, phase="decode", context=10)
    experts = LAYERS * (2 * 3 * H * FF + H * 4 - 3 * H * FF)  # two of four a token, and the router, for one dense
    assert profile.totals.macs == macs_of_layers(1, 11, 2) + experts + H * VOCAB + macs_of_angles(1)


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (llama(2), {"phase": "generate"}, "Phases: prefill, decode"),
        (llama(2), {"phase": "decode", "context": 0}, "1 or more"),
        (llama(2), {"context": 5}, "that of a phase"),
        (llama(2), {"phase": "decode", "set": {"seq": 3}}, "one setting, their context"),
        (f"hf:BertModel({SMALL}, intermediate_size={FF})", {"phase": "decode"}, "has no phases"),
        ("hf:t5-small", {"phase": "decode"}, "has no phases"),
        (llama(2), {"phase": "decode", "inputs": {"input_ids": (1, 3)}}, "One or the other"),
        ("alexnet", {"phase": "decode"}, "no settings and no phases"),
    ],
)
def test_what_has_no_phase_is_said(spec, options, words):
    with pytest.raises(UsageError, match=words):
        archprof.profile(spec, **options)


def test_a_module_of_the_user_has_phases_and_is_left_alone():
    config = transformers.LlamaConfig(
        hidden_size=H, num_hidden_layers=LAYERS, num_attention_heads=HEADS, vocab_size=VOCAB, intermediate_size=FF
    )
    model = transformers.LlamaForCausalLM(config).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    profile = archprof.profile(model, phase="decode", context=7)
    assert profile.totals.macs == macs_of_layers(1, 8, HEADS) + H * VOCAB + macs_of_angles(1)
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_the_table_adds_up_and_the_notes_say_it():
    spec = "hf:GptOssForCausalLM(num_hidden_layers=4, num_local_experts=8, hidden_size=64, intermediate_size=32)"
    profile = archprof.profile(spec, phase="decode", context=300)
    table = decoding.tabulate_cache(profile)
    assert [row.cells[:2] for row in table.rows] == [
        ("0, 2", "keys"), ("0, 2", "values"), ("1, 3", "keys"), ("1, 3", "values"),
    ]  # fmt: skip
    assert sum(row.cells[-1] for row in table.rows) == table.total.cells[-1] == profile.decoding.nbytes
    assert "Decode: one token against a cache of 300." in notes_of(profile)
    assert "Per token" in table.to_text()


def test_a_saved_profile_keeps_its_phase(tmp_path):
    profile = archprof.profile(llama(2), phase="prefill", context=9)
    assert from_json(profile.to_json()).decoding == profile.decoding
    assert archprof.profile(llama(2)).decoding is None
    profile.save(tmp_path / "x.json")
    with pytest.raises(UsageError, match="phase cannot change it"):
        archprof.profile(str(tmp_path / "x.json"), phase="decode")
    with pytest.raises(UsageError, match="traced in no phase"):
        decoding.tabulate_cache(archprof.profile(llama(2)))


def test_more_tokens_than_positions_is_said():
    profile = archprof.profile("hf:GPT2LMHeadModel(n_embd=32, n_layer=1, n_head=2)", phase="prefill", context=2000)
    assert any("made for 1,024 positions" in note for note in profile.notes)


def test_a_cache_that_cannot_be_filled_on_meta_is_said(monkeypatch):
    from transformers.models.llama import modeling_llama

    monkeypatch.setattr(modeling_llama.LlamaMLP, "forward", lambda self, x: x * float(x.sum()))
    with pytest.raises(ArchprofError, match="cannot be filled on meta"):
        archprof.profile(llama(2), phase="decode")


class Counter:
    """A cache of a class that no library knows: a sum for each layer, and how many tokens went in."""

    def __init__(self, sums):
        self.sums, self.seen = sums, 0


@dataclass
class Output:
    logits: torch.Tensor
    memory: Counter | None = None


class GivesBack(nn.Module):
    def forward(
        self, input_ids: torch.Tensor, logits: torch.Tensor | None = None, memory: Counter | None = None
    ) -> tuple | Output: ...


class TakesCache(nn.Module):
    def forward(self, input_ids, whatever: transformers.DynamicCache | None = None, scale: float = 1.0): ...


class TakesNone(nn.Module):
    def forward(self, input_ids: torch.Tensor, hidden_states: torch.Tensor) -> Output: ...


@pytest.mark.parametrize(("kind", "name"), [(GivesBack, "memory"), (TakesCache, "whatever"), (TakesNone, None)])
def test_the_argument_of_a_cache_is_found_by_its_class(kind, name):
    assert caches.find_cache_argument(kind()) == name


def test_a_cache_without_layers_is_listed_by_its_lists():
    cache = Counter([torch.zeros(2, 3), torch.zeros(2, 5)])
    cache.counters, cache.empty = [torch.tensor(3.0)], [torch.zeros(2, 0)]
    held = [(each.layer, each.name, tuple(each.value.shape)) for each in caches.list_cache_tensors(cache)]
    assert held == [(0, "sums", (2, 3)), (1, "sums", (2, 5))]


def test_a_recurrent_cache_of_its_own_class_has_the_bytes_of_its_states():
    sizes = "hidden_size=64, num_heads=2, num_hidden_layers=2, vocab_size=99, qk_dim_factor=1.0, v_dim_factor=1.0"
    facts = archprof.profile(f"hf:xLSTMForCausalLM({sizes})", phase="decode", context=8).decoding
    width = 64 // 2  # of each head: a matrix, a vector and a stabiliser
    assert facts.nbytes == 2 * 2 * (width * width + width + 1) * 4
    assert facts.growth == 0
