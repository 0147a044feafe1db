"""Stages of a pipeline against one rank that is run for real, and against hand-worked sizes."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from predicting.sharding.pipeline_oracle import TOKENS, VOCABULARY, WIDTH, Blocks, Stage, run_stage

import archprof
from archprof.errors import UsageError
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.sharding.blocks import assign_stages, balance_costs, balance_counts, find_block_starts
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.pipeline import Pipeline, PipelineOptions
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.schedules import order_passes

BATCH = 4
HIDDEN = BATCH * TOKENS * WIDTH * 4


@cache
def trace(tied: bool = False) -> archprof.Profile:
    tokens = torch.zeros(BATCH, TOKENS, dtype=torch.int64)
    return archprof.profile(Blocks(tied=tied), tokens, train=True, optimizer="adamw")


def cut(profile: archprof.Profile, ranks: int, microbatches: int, schedule: str = "1f1b") -> list[RankStep]:
    pipeline = Pipeline(
        RankStep(Mesh(pp=ranks), Mesh(0, 0, 0, 0, 0), profile), PipelineOptions(microbatches, schedule, "count")
    )
    return [pipeline.take_stage(rank) for rank in range(ranks)]


def list_peaks(step: RankStep) -> tuple[int, int]:
    """The most live bytes before the optimizer's step, and of all."""
    ops = build_step(step.profile)
    live = sum_step_bytes(step.profile, ops)
    passed = [one for one, op in zip(live, ops.ops, strict=True) if step.profile.ops[op].phase != "optimizer"]
    return max(passed), max(live)


@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize(("ranks", "microbatches"), [(2, 2), (2, 4), (4, 8)])
def test_memory_is_that_of_a_rank_that_runs(ranks: int, microbatches: int, schedule: str) -> None:
    model = Blocks()
    for rank, step in enumerate(cut(trace(), ranks, microbatches, schedule)):
        step.profile.check()
        each = 8 // ranks
        stage = Stage(model, rank * each, (rank + 1) * each)
        real = run_stage(stage, order_passes(schedule, ranks, rank, microbatches), microbatches, BATCH)
        assert list_peaks(step) == pytest.approx(real, rel=0.01)


def test_parts_sum_to_the_whole() -> None:
    whole = trace()
    steps = cut(whole, 4, 4)
    assert sum(step.profile.totals.macs for step in steps) == whole.totals.macs
    assert sum(step.profile.totals.backward_macs for step in steps) == whole.totals.backward_macs
    assert sum(step.profile.totals.params for step in steps) == whole.totals.params
    states = [sum(s.nbytes for s in step.profile.storages if s.role == "optimizer state") for step in steps]
    assert sum(states) == pytest.approx(2 * whole.totals.param_bytes, rel=0.001)
    block = 2 * WIDTH + 2 * 4 * WIDTH * WIDTH + 5 * WIDTH
    assert [step.profile.totals.params for step in steps] == [
        VOCABULARY * WIDTH + 2 * block, 2 * block, 2 * block, 2 * block + VOCABULARY * WIDTH,
    ]  # fmt: skip


def test_messages() -> None:
    steps = cut(trace(), 4, 4)
    kinds = [[(one.kind, one.axis, one.nbytes) for one in step.collectives] for step in steps]
    send, receive = ("send", "pp", HIDDEN), ("receive", "pp", HIDDEN)
    assert kinds == [[send, receive], [receive, send, receive, send], [receive, send, receive, send], [receive, send]]
    for step in steps:
        for one in step.collectives:
            assert step.profile.ops[one.op].signature.name.startswith("c10d.")
        buffers = [one for one in step.profile.storages if one.role == "communication"]
        assert sum(one.nbytes for one in buffers) == 4 * HIDDEN * sum(one.kind == "receive" for one in step.collectives)


def test_interleaved_stages_send_twice() -> None:
    steps = cut(trace(), 2, 4, "interleaved")
    assert [sum(one.kind == "send" for one in step.collectives) for step in steps] == [3, 3]
    assert sum(step.profile.totals.macs for step in steps) == trace().totals.macs


def test_a_tied_weight_is_on_both_ends() -> None:
    first, last = cut(trace(tied=True), 2, 2)
    nbytes = VOCABULARY * WIDTH * 4
    for step in (first, last):
        assert [one.nbytes for one in step.collectives if one.kind == "all-reduce"] == [nbytes]
        assert {one.nbytes for one in step.collectives if one.kind != "all-reduce"} == {HIDDEN}
        gradients = sum(one.nbytes for one in step.profile.storages if one.role == "gradient" and one.died is None)
        assert gradients == step.profile.totals.param_bytes


def test_positions_are_worked_out_by_each_stage() -> None:
    model = (
        "hf:LlamaConfig(num_hidden_layers=4,hidden_size=64,intermediate_size=128,num_attention_heads=4,vocab_size=99)"
    )
    profile = archprof.profile(model, train=True, optimizer="adamw", batch=2, set={"seq": 16})
    for step in cut(profile, 2, 2):
        assert {one.nbytes for one in step.collectives} == {2 * 16 * 64 * 4}
        assert any(op.name == "aten.cos" for op in step.profile.ops)


def test_blocks() -> None:
    def name_starts(model: str, at_least: int) -> list[str]:
        profile = archprof.profile(model)
        return [profile.modules[profile.calls[call].module].path for call in find_block_starts(profile, at_least)]

    assert name_starts("hf:gpt2", 2) == [f"transformer.h.{at}" for at in range(12)]
    assert name_starts("resnet50", 2)[:4] == ["layer1.0", "layer1.1", "layer1.2", "layer2.0"]
    assert len(name_starts("resnet50", 2)) == 16
    assert len(name_starts("torchvision:swin_t", 8)) == 8
    assert name_starts("lenet5", 2)


def test_balance() -> None:
    assert balance_counts(126, 8) == [15, 16, 16, 16, 16, 16, 16, 15]  # as torchtitan splits Llama 405B
    assert balance_counts(12, 4) == [3, 3, 3, 3]
    assert balance_costs([1] * 12, 4) == [3, 3, 3, 3]
    assert balance_costs([5, 1, 1, 1, 1, 5], 3) == [1, 4, 1]
    assert balance_costs([9, 1], 2) == [1, 1]
    stages = assign_stages(trace(), 4)
    assert [max(stages), min(stages)] == [3, -1]


def test_too_many_stages() -> None:
    with pytest.raises(UsageError, match="10 blocks that run one after the other"):
        assign_stages(trace(), 11)
    with pytest.raises(UsageError, match="no way to balance stages"):
        assign_stages(trace(), 2, "size")  # type: ignore[arg-type]
