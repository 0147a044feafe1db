"""Plans of which layers are cut over ranks: their files, their rules, and what they cannot be."""

from __future__ import annotations

import re
import time
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.errors import ArchprofError, UsageError
from archprof.facts.records import Profile
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.plan import find_model_plan, make_plan, read_plan
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.shard import ShardOptions, shard_profile
from archprof.predicting.sharding.tensor_parallel import shard_tensors


class Net(nn.Module):
    """Two layers of which the first can be cut by columns and the second by rows."""

    def __init__(self, heads: int = 0) -> None:
        super().__init__()
        self.up, self.down, self.conv = nn.Linear(8, 12), nn.Linear(12, 8), nn.Conv1d(8, 8, 1)
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(x)
        if self.heads:
            y = y.view(*y.shape[:-1], self.heads, -1).sort(-2).values.flatten(-2)
        return self.down(torch.relu(y))


PLAN = {"up": "colwise", "down": "rowwise"}


def _trace(heads: int = 0) -> Profile:
    return archprof.profile(Net(heads), torch.zeros(2, 3, 8), train=True, optimizer="sgd")


def _cut(plan: dict[str, Any], ranks: int = 2, rank: int = 0, heads: int = 0) -> RankStep:
    return shard_tensors(RankStep(Mesh(tp=ranks), Mesh(0, 0, 0, 0, rank), _trace(heads)), make_plan(plan))


def test_a_file_of_toml_or_json(tmp_path: Path) -> None:
    toml, other = tmp_path / "plan.toml", tmp_path / "plan.json"
    toml.write_text('"up" = "colwise"\n"down" = {style = "rowwise", output = "shard(1)"}\n')
    other.write_text('{"up": "colwise", "down": {"style": "rowwise", "output": "shard(1)"}}')
    assert read_plan(toml) == read_plan(other)
    assert dict(read_plan(toml).rules)["down"].output == ("shard", 1)


def test_the_plan_of_the_guide_is_one(tmp_path: Path) -> None:
    guide = files("archprof").joinpath("guide", "shard.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in guide.splitlines() if line.startswith('    "model.')]
    path = tmp_path / "plan.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert len(read_plan(path).rules) == len(lines) > 3


@pytest.mark.parametrize("text", ["", "[", "up = 3", '"up" = "columns"', '"up" = {style = "colwise", width = 2}'])
def test_a_file_that_is_no_plan(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(ArchprofError):
        read_plan(path)


def test_a_layout_that_there_is_not() -> None:
    with pytest.raises(ArchprofError, match=r"'split\(1\)' does not say how a tensor lies"):
        make_plan({"up": {"style": "colwise", "input": "split(1)"}})


def test_a_rule_that_names_no_module_gives_the_nearest() -> None:
    with pytest.raises(ArchprofError, match=r"names 'upp', and no module(.|\n)*Near it: up,"):
        shard_profile(_trace(), Mesh(tp=2), ShardOptions(plan=make_plan({"upp": "colwise"})))


def test_a_convolution_is_not_cut() -> None:
    with pytest.raises(ArchprofError, match="conv is a Conv1d, which colwise cannot split"):
        _cut({"conv": "colwise"})


def test_shares_of_a_rank_by_hand() -> None:
    step = _cut(PLAN, ranks=5, rank=3)  # of 12 features, ranks have 3, 3, 3, 3 and none
    shapes = {one.name: one.spec.shape for one in step.profile.parameters}
    assert (shapes["up.weight"], shapes["up.bias"], shapes["down.weight"]) == ((3, 8), (3,), (8, 3))
    assert shapes["down.bias"] == (8,)
    assert {one.name: one.spec.shape for one in _cut(PLAN, ranks=5, rank=4).profile.parameters}["up.bias"] == (0,)


def test_work_of_a_rank_by_hand() -> None:
    """6 samples of 8 x 12 and 12 x 8, a third of each; a bias is added to whole outputs, relu is on local features."""
    step = _cut(PLAN, ranks=3)
    assert step.profile.totals.macs == 6 * 8 * 4 + 6 * 4 * 8
    flops = {op.name: op.flops for op in step.profile.forward_ops}
    assert flops["aten.relu"] == 6 * 4
    assert [op.flops for op in step.profile.forward_ops if op.name == "aten.addmm"] == [
        2 * 6 * 8 * 4 + 6 * 4,
        2 * 6 * 4 * 8 + 6 * 8,
    ]


def test_what_is_sent_by_hand() -> None:
    """The sum of the outputs, 2 x 3 x 8 floats; the input needs no gradient."""
    sent = [(one.kind, one.axis, one.group, one.nbytes) for one in _cut(PLAN, ranks=3).collectives]
    assert sent == [("all-reduce", "tp", 3, 2 * 3 * 8 * 4)]


def test_one_rank_is_the_model() -> None:
    step = RankStep(Mesh(), Mesh(0, 0, 0, 0, 0), _trace())
    assert shard_tensors(step, make_plan(PLAN)) is step


def test_a_part_of_a_head_is_refused() -> None:
    with pytest.raises(ArchprofError, match=r"rank 0 of tp=3 cannot run aten.view: 4 of 12(.|\n)*divides the heads"):
        _cut(PLAN, ranks=3, heads=2)


def test_what_cannot_be_followed_is_a_lower_bound() -> None:
    """A sort over heads that lie on other ranks."""
    step = _cut(PLAN, ranks=2, heads=4)
    assert not step.profile.totals.complete
    assert "Not followed over the ranks" in step.profile.notes[-1]
    assert "aten.sort: it runs along the cut" in step.profile.notes[-1]


def test_a_style_of_which_not_all_is_followed_is_a_lower_bound() -> None:
    step = _cut({"up": "mla_kv_a_proj"})
    assert not step.profile.totals.complete
    assert "mla_kv_a_proj: its sums are left out" in step.profile.notes[-1]


def test_an_input_that_lies_otherwise_is_refused() -> None:
    with pytest.raises(ArchprofError, match="down: rowwise takes an input that is cut along dimension 2"):
        _cut({"down": "rowwise"})


def test_a_model_without_a_plan() -> None:
    assert find_model_plan(_trace()) is None
    with pytest.raises(UsageError, match="says no plan of how its layers are cut over tp"):
        shard_profile(_trace(), Mesh(tp=2))
    with pytest.raises(UsageError, match="says no plan of how its experts are dealt out over ep"):
        shard_profile(_trace(), Mesh(dp=2, ep=2))


def test_the_plan_of_a_model_is_kept_in_its_file(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=8)
    profile = archprof.profile(LlamaForCausalLM(config), {"input_ids": torch.zeros(1, 4, dtype=torch.int64)})
    profile.save(tmp_path / "llama.json")
    plan = find_model_plan(archprof.load(tmp_path / "llama.json"))
    assert plan is not None
    assert {pattern: style.name for pattern, style in plan.rules} == {
        "lm_head": "colwise_gather_output",
        "model.embed_tokens": "embedding_rowwise",
        **{f"model.layers.*.self_attn.{name}_proj": "colwise" for name in "qkv"},
        "model.layers.*.self_attn.o_proj": "rowwise",
        "model.layers.*.mlp.gate_proj": "colwise",
        "model.layers.*.mlp.up_proj": "colwise",
        "model.layers.*.mlp.down_proj": "rowwise",
    }
    assert "split_rules" not in _trace().to_json()


@pytest.mark.parametrize("seed", range(20))
def test_a_star_is_one_sign_or_more_between_dots(seed: int) -> None:
    """Held against a search that tries every way, which takes the longer the more stars there are."""
    rng = Random(seed)
    for _ in range(200):
        path = "".join(rng.choices("ab.[?", k=rng.randint(0, 8)))
        pattern = "".join(rng.choice((sign, sign, "*", "")) for sign in path)
        every_way = "[^.]+".join(map(re.escape, pattern.split("*")))
        assert (make_plan({pattern: "colwise"}).find(path) is not None) == bool(re.fullmatch(every_way, path)), pattern


def test_no_number_of_stars_takes_long() -> None:
    start = time.perf_counter()
    for pattern in ("*" * 200 + "!", "*a" * 60 + "*!", "*." * 500):
        assert make_plan({pattern: "colwise"}).find("a" * 300) is None
    assert time.perf_counter() - start < 5
