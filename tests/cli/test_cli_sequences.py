"""`--set`, `--phase` and `--context` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers")

LLAMA = (
    "hf:LlamaForCausalLM(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, "
    "intermediate_size=64, vocab_size=99)"
)
CACHE = 2 * 2 * 2 * 8 * 100 * 4
"""Bytes: keys and values, two layers, two heads of 8, 100 tokens, four bytes."""


def test_a_phase_prints_its_cache_under_the_table(command):
    result = command("table", LLAMA, "--phase", "decode", "--context", "100", "--depth", "1")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.split("Cache of ")
    assert "Decode: one token against a cache of 100." in first
    assert "after 100 tokens" in second
    words = " ".join(second.split())
    assert "takes 25.00 KiB in 2 layers; each further token adds 256 B" in words


def test_the_phase_is_in_the_json(command):
    result = command("table", LLAMA, "--phase", "prefill", "--context", "100", "-o", "x.json")
    assert result.exit_code == 0, result.output
    facts = json.loads(Path("x.json").read_text(encoding="utf-8"))["decoding"]
    assert (facts["phase"], facts["context"]) == ("prefill", 100)
    assert sum(4 * shape[0] * shape[1] * shape[2] * shape[3] for _, _, (shape, _) in facts["cache"]) == CACHE


def test_settings_reach_the_input(command):
    result = command("table", LLAMA, "--set", "seq=17", "--depth", "0")
    assert "Input input_ids=int64:17<99" in result.stdout
    compared = command("compare", LLAMA, LLAMA, "--set", "seq=17")
    assert "int64:17<99" in compared.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "seq"), "cannot be read"),
        (("--set", "seq=0"), "1 or more"),
        (("--set", "sq=3"), "Near it: seq"),
        (("--phase", "sleep"), "Phases: prefill, decode"),
        (("--context", "5"), "that of a phase"),
        (("--phase", "decode", "--measure", "cpu"), "cannot be measured"),
    ],
)
def test_what_cannot_be_is_said(command, words, said):
    result = command("table", LLAMA, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_local_configuration_is_no_saved_profile(command):
    data = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2}
    Path("config.json").write_text(json.dumps(data), encoding="utf-8")
    result = command("table", "hf:config.json", "--depth", "0")
    assert result.exit_code == 0, result.output
    assert "GPT2LMHeadModel" in result.stdout
