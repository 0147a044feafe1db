"""`archprof.shard` and `archprof.fit` over meshes: what is asked, what comes back, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import archprof
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.shard import Sharded
from archprof.predicting.sharding.step_time import drop_collectives
from archprof.sweeping.meshes import fit_meshes, list_meshes
from archprof.sweeping.shards import ShardRequest

SMALL = "hf:LlamaConfig(num_hidden_layers=4,hidden_size=64,intermediate_size=128,num_attention_heads=4,vocab_size=96)"
HOW = {"train": True, "optimizer": "adamw", "set": {"seq": 16}}


def test_a_mesh_of_one_rank_is_the_model() -> None:
    whole = archprof.predict_memory("resnet18", train=True, optimizer="adamw", batch=4)
    alone = archprof.shard("resnet18", mesh="dp=1", train=True, optimizer="adamw", batch=4).sharded
    assert alone.largest.memory.live_peak_bytes == whole.live_peak_bytes
    assert (alone.largest.count, alone.samples, alone.bubble_share) == (1, 4, 0)


def test_every_rank_is_counted_once() -> None:
    sharded = archprof.shard(SMALL, mesh="pp=2,dp=2,fsdp=4", batch=4, **HOW).sharded
    assert sum(rank.count for rank in sharded.ranks) == sharded.mesh.ranks == 16
    assert sharded.microbatches == 2
    assert sharded.profile.batch == 2
    assert sharded.samples == 4 * 8


@pytest.mark.parametrize("mesh", ["fsdp=4", "pp=2,fsdp=4", "pp=4", "pp=2,tp=2"])
def test_state_of_all_ranks_is_that_of_the_model(mesh: str) -> None:
    """Parameters and state lie once on the ranks of a copy; what no axis cuts lies on each."""
    whole = archprof.profile(SMALL, **HOW)
    sharded = archprof.shard(SMALL, mesh=mesh, batch=4, **HOW).sharded
    kept = sum(
        rank.count * one.nbytes
        for rank in sharded.ranks
        for one in rank.step.profile.storages
        if one.role == "optimizer state" and one.nbytes > 8 and one.died is None
    )
    norms = 9 * 64 * 4 * 2  # their moments are on both ranks of tp
    more = norms if "tp" in mesh else 0
    assert kept == pytest.approx(2 * whole.totals.param_bytes + more, rel=0.02)


def test_the_answer_in_every_format(tmp_path: Path) -> None:
    answer = archprof.shard(SMALL, mesh="pp=2,dp=2", batch=4, device="h100", **HOW)
    ranks, sent, time = answer.tables()
    said = json.loads(answer.to_json())
    assert [row["ranks"] for row in ranks.records()] == ["pp 0", "pp 1"]
    assert said["mesh"] == {"pp": 2, "dp": 2, "fsdp": 1, "ep": 1, "tp": 1}
    assert [rank["count"] for rank in said["ranks"]] == [2, 2]
    assert said["bubble_share"] == 1 / 3
    step = said["step_seconds"]
    parts = step["compute"] + step["communication"] + step["bubble"] + step["optimizer"]
    assert step["step"] == pytest.approx(parts)
    assert {row["kind"] for row in sent.records()} == {"send", "receive", "all-reduce", "broadcast"}
    assert "A bound" in time.to_markdown()
    assert ranks.to_csv().count("\n") == 3
    for rank, row in zip(said["ranks"], ranks.records(), strict=True):
        held = sum(value for key, value in row.items() if key not in ("ranks", "count", "used", "complete"))
        assert held == sum(rank["categories"].values()) == row["used"]


def test_a_saved_profile_needs_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    archprof.profile(SMALL, batch=2, **HOW).save(path)
    program = (
        "import sys, archprof\n"
        f"answer = archprof.shard({str(path)!r}, mesh='pp=2,fsdp=2,tp=2', device='h100', train=True)\n"
        "assert 'torch' not in sys.modules\n"
        "print(answer.sharded.samples, len(answer.tables()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "3"]


def test_a_saved_profile_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "plain.json"
    archprof.profile("lenet5").save(path)
    with pytest.raises(UsageError, match="traced without training"):
        archprof.shard(str(path), mesh="dp=2", train=True)
    with pytest.raises(UsageError, match="batch cannot change it"):
        archprof.shard(str(path), mesh="dp=2", batch=8)
    with pytest.raises(UsageError, match="dtype cannot change it"):
        archprof.shard(str(path), mesh="dp=2", param_dtype="bfloat16")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"mesh": ""}, "axes are pp, dp, fsdp"),
        ({"mesh": "qp=2"}, "axes are pp, dp, fsdp"),
        ({"mesh": "pp=2", "batch": 3}, "cannot be cut into 2 microbatches"),
        ({"mesh": "pp=64", "batch": 64}, "cannot be cut into 64 stages"),
        ({"mesh": "dp=2", "microbatches": 4, "batch": 4}, "go through a pipeline"),
        ({"mesh": "pp=2", "schedule": "1f2b"}, "1f1b"),
        ({"mesh": "pp=2", "balance": "size", "batch": 2}, "cost"),
        ({"mesh": "tp=3"}, "head"),
        ({"mesh": "fsdp=2", "units": ["layers.*.nothing"]}, "nothing"),
        ({"mesh": "fsdp=2", "zero": 4}, "There is no ZeRO 4"),
        ({"mesh": "dp=2", "device": "h1000"}, "h1000"),
        ({"mesh": "dp=2", "device": "h100", "link": "nvlink9"}, "nvlink9"),
        ({"mesh": "dp=2", "link": "nvlink4"}, "Add: --device"),
        ({"mesh": "dp=2", "param_dtype": "bfloat16", "amp": "bfloat16"}, "One of --param-dtype"),
        ({"mesh": "tp=2", "plan": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_bad_input(asked: dict[str, object], words: str) -> None:
    with pytest.raises(ArchprofError, match=words):
        archprof.shard(SMALL, **HOW, **asked)  # type: ignore[arg-type]


def test_a_plan_that_names_no_module(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('"layers.*.mlp.up" = "colwise"\n')
    with pytest.raises(ArchprofError, match=r"no module has such a path"):
        archprof.shard(SMALL, mesh="tp=2", plan=str(path), **HOW)
    with pytest.raises(UsageError, match="--plan"):
        archprof.shard("resnet18", mesh="tp=2")


def test_a_forward_that_failed() -> None:
    with pytest.raises(archprof.TraceError) as raised:
        archprof.shard("vgg16", "3x16x16", mesh="dp=2")
    with pytest.raises(UsageError, match="failed in"):
        archprof.shard(raised.value.profile, mesh="dp=2")


def test_meshes_of_so_many() -> None:
    found = list(list_meshes(8, 4))
    assert len(found) == len(set(found))
    assert all(mesh.ranks == 8 and mesh.tp <= 4 for mesh in found)
    ways = [
        (pp, dp, fsdp, tp) for pp in (1, 2, 4, 8) for dp in (1, 2, 4, 8) for fsdp in (1, 2, 4, 8) for tp in (1, 2, 4)
    ]
    assert len(found) == sum(pp * dp * fsdp * tp == 8 for pp, dp, fsdp, tp in ways)


def test_the_best_mesh() -> None:
    table = archprof.fit(
        SMALL, over="mesh", gpus=4, device="h100", batch=4, train=True, optimizer="adamw", set={"seq": 16}
    )
    rows = table.records()
    assert len(rows) == len(list(list_meshes(4, 8)))
    fitting = [row["sample"] for row in rows if row["fits"] == "yes"]
    assert fitting == sorted(fitting)
    assert f"--mesh {rows[0]['mesh']}." in table.notes[0]
    least = archprof.fit(
        SMALL, over="mesh", gpus=4, device="h100", least="memory", batch=4, train=True, optimizer="adamw"
    ).records()
    needed = [row["needed"] for row in least if row["fits"] == "yes"]
    assert needed == sorted(needed)


def test_what_cannot_fit_is_not_replayed() -> None:
    profile = archprof.profile(SMALL, **HOW)
    large = profile.storages[0]._replace(nbytes=1 << 40)
    profile = archprof.Profile(**{**profile.__dict__, "storages": (large, *profile.storages[1:])})
    found = fit_meshes(profile, None, archprof.sweeping.shards.PassRequest(), ShardRequest(device="h100"), 2)
    refused = {one.mesh: one for one in found.tries}
    assert refused[Mesh(dp=2)].word == "does not fit"
    assert refused[Mesh(dp=2)].needed > 1 << 40
    assert refused[Mesh(dp=2)].seconds is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gpus": 0, "device": "h100"}, "A mesh of 0 GPUs"),
        ({"device": "h100"}, "--gpus 8"),
        ({"gpus": 8}, "--device h100"),
        ({"gpus": 8, "device": "h100", "max_params": "1M"}, "one budget"),
        ({"gpus": 8, "device": "h100", "least": "money"}, "cost of a mesh"),
    ],
)
def test_bad_questions_of_meshes(asked: dict[str, object], words: str) -> None:
    with pytest.raises((UsageError, UnknownName), match=words):
        archprof.fit("lenet5", over="mesh", **asked)  # type: ignore[arg-type]


def test_sequence_parallel() -> None:
    """Messages between stages are a part of the sequence; sums are scattered and gathered (arXiv 2205.05198, 4.2)."""
    plain, cut = (
        archprof.shard(SMALL, mesh="tp=2,pp=2", batch=2, sequence_parallel=on, **HOW).sharded for on in (False, True)
    )
    hidden = 16 * 64 * 4

    def list_sent(sharded: Sharded, kinds: tuple[str, ...]) -> list[int]:
        collectives = sharded.ranks[0].step.collectives
        return [one.nbytes for one in collectives if one.kind in kinds and one.axis in ("tp", "pp")]

    assert set(list_sent(plain, ("send",))) == {hidden}
    assert set(list_sent(cut, ("send",))) == {hidden // 2}
    assert list_sent(plain, ("all-gather", "reduce-scatter")) == []
    # two blocks: two of each in the forward and the backward; the embedding scatters, its backward gathers
    assert list_sent(cut, ("all-gather",)).count(hidden) == 2 * 4 + 1
    assert list_sent(cut, ("reduce-scatter",)).count(hidden) == 2 * 4 + 1
    assert cut.largest.memory.live_peak_bytes.value < plain.largest.memory.live_peak_bytes.value


def test_sequence_parallel_needs_a_plan_with_sums(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('"fc" = "colwise_rep"\n')
    with pytest.raises(UsageError, match="sequence parallelism could be added"):
        archprof.shard("resnet18", mesh="tp=2", plan=str(path), sequence_parallel=True)


def test_experts_that_are_not_there_are_not_dealt_out() -> None:
    with pytest.raises(UsageError, match="no plan of how its experts are dealt out over ep"):
        archprof.shard(SMALL, mesh="dp=2,ep=2")


def test_what_is_run_again_is_sent_by_its_own_stage() -> None:
    """A checkpointed layer gathers the sequence again in the backward; only hidden states go between stages."""
    asked = {**HOW, "checkpoint": ["model.layers.*"], "sequence_parallel": True}
    sharded = archprof.shard(SMALL, mesh="tp=2,pp=2", batch=2, **asked).sharded
    between = [[one.nbytes for one in rank.step.collectives if one.axis == "pp"] for rank in sharded.ranks]
    assert between == [[16 * 64 * 4 // 2] * 2] * 2


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
def test_a_rank_works_as_long_as_the_model(train: bool) -> None:
    """A copy does the work of the whole; gathering and sending add copies of parameters and gradients."""
    how = {**HOW, "train": train, "optimizer": "adamw" if train else None}
    alone = archprof.predict(SMALL, device="h100", **how).predictions[0].whole.p50
    seconds = {
        mesh: json.loads(archprof.shard(SMALL, mesh=mesh, device="h100", **how).to_json())["step_seconds"]
        for mesh in ("dp=1", "fsdp=4", "fsdp=2,tp=2")
    }
    work = {mesh: each["compute"] + each["optimizer"] for mesh, each in seconds.items()}
    assert work["dp=1"] == pytest.approx(alone)
    assert alone <= work["fsdp=4"] < 1.6 * alone
    assert 0 < work["fsdp=2,tp=2"] < 1.6 * alone


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
def test_what_is_sent_is_dropped_from_the_work_and_nothing_else_moves(train: bool) -> None:
    how = {**HOW, "train": train, "optimizer": "adamw" if train else None}
    step = archprof.shard(SMALL, mesh="fsdp=2,tp=2", **how).sharded.largest.step
    sent, kept = {one.op for one in step.collectives}, drop_collectives(step.profile, step.collectives)
    assert len(kept.ops) == len(step.profile.ops) - len(sent)
    for old, new in zip(step.profile.storages, kept.storages, strict=True):
        for before, after in ((old.born, new.born), (old.died, new.died)):
            assert (before is None) is (after is None)
            if before is not None and before not in sent:
                assert kept.ops[after] is step.profile.ops[before]
