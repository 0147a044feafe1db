"""Layers cut over ranks, against torch and transformers, which split the same models over a fake process group."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from predicting.sharding.split_models import CASES

import archprof
from archprof.facts.records import Profile
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.sharding.data import shard_data
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.expert_parallel import shard_experts
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.plan import find_model_plan, make_plan
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.tensor_parallel import shard_tensors

SCRIPT = Path(__file__).with_name("split_for_real.py")

FEW = ("gpt:4:3", "sequence:2:0", "vit:2:1", "llama:4:3", "llama of one table:2:1")
EVEN = {"llama of few keys": (2, 4)}
BOTH_FEW = ("gpt:2:3:2", "sequence:2:0:2")
EXPERTS_FEW = ("experts:4:3",)
EXPERTS = tuple(f"experts:{ranks}:{rank}" for ranks in (2, 4, 8) for rank in range(ranks))
BOTH = tuple(
    f"{name}:{ranks}:{rank}:{shards}"
    for name in ("gpt", "sequence", "vit")
    for ranks, shards in ((2, 2), (2, 4), (4, 2))
    for rank in range(ranks * shards)
)
MANY = tuple(
    f"{name}:{ranks}:{rank}"
    for name, case in CASES.items()
    if case.axis == "tp"
    for ranks in EVEN.get(name, (2, 4, 8))
    for rank in sorted({0, 1, ranks - 2, ranks - 1})
)


@cache
def _trace(name: str) -> Profile:
    case = CASES[name]
    with torch.device("meta"):
        model = case.build()
    return archprof.profile(model, case.make_inputs(), train=True, optimizer="adamw(foreach=False)")


@cache
def _train_for_real(asked: tuple[str, ...]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, SCRIPT, *asked], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _split(one: str) -> RankStep:
    name, *numbers = one.split(":")
    ranks, rank, shards = [*map(int, numbers), 1][:3]
    profile, given = _trace(name), CASES[name].plan
    plan = make_plan(given) if given else find_model_plan(profile, CASES[name].axis)
    assert plan is not None
    if CASES[name].axis == "ep":
        return shard_experts(RankStep(Mesh(dp=ranks, ep=ranks), Mesh(0, rank, 0, 0, 0), profile), plan)
    mesh, place = Mesh(tp=ranks, fsdp=shards), Mesh(0, 0, rank // ranks, 0, rank % ranks)
    step = shard_tensors(RankStep(mesh, place, profile), plan)
    if shards > 1:
        step = shard_data(step, DataOptions())
    return step


def _check(one: str, real: dict[str, Any]) -> None:
    step = _split(one)
    profile = step.profile
    profile.check()
    assert profile.totals.complete
    sizes = {tensor.name: tensor.nbytes for tensor in profile.parameters if tensor.role == "parameter"}
    assert sizes == real["parameters"]
    assert sorted(_sizes(profile, "gradient")) == sorted(filter(None, real["gradients"].values()))
    assert sum(_sizes(profile, "optimizer state")) == sum(real["states"].values())
    steady = build_step(profile)
    later = set(steady.ops)
    sent = [[each.kind, each.nbytes] for each in step.collectives if each.op in later]
    assert sorted(sent) == sorted(real["collectives"])
    if step.mesh.fsdp == 1:
        assert sent == real["collectives"]
    assert max(sum_step_bytes(profile, steady)) == pytest.approx(max(live for _, live in real["seen"]), rel=0.01)


def _sizes(profile: Profile, role: str) -> list[int]:
    """Of the tensors of that role that an optimizer reads or makes and that outlive the step; none that are empty."""
    touched = {tensor for op in profile.ops if op.phase == "optimizer" for tensor in (*op.inputs, *op.outputs)}
    tensors = [profile.tensors[one] for one in touched if profile.role_of(one) == role]
    return [one.spec.nbytes for one in tensors if one.spec.nbytes and profile.storages[one.storage].died is None]


@pytest.mark.parametrize("one", FEW + BOTH_FEW + EXPERTS_FEW)
def test_a_rank_has_what_torch_gives_it(one: str) -> None:
    _check(one, _train_for_real(FEW + BOTH_FEW + EXPERTS_FEW)[one])


@pytest.mark.slow
@pytest.mark.parametrize("one", MANY + BOTH + EXPERTS)
def test_every_rank_has_what_torch_gives_it(one: str) -> None:
    _check(one, _train_for_real(MANY + BOTH + EXPERTS)[one])
