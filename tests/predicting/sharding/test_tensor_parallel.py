"""Layers cut over ranks, against torch and transformers, which split the same models over a fake process group."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from predicting.sharding.split_models import CASES

import archprof
from archprof.facts.records import Profile
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.plan import find_model_plan, make_plan
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.tensor_parallel import shard_tensors

SCRIPT = Path(__file__).with_name("split_for_real.py")

FEW = ("gpt:4:3", "sequence:2:0", "vit:2:1", "llama:4:3", "llama of one table:2:1")
EVEN = {"llama of few keys": (2, 4)}
MANY = tuple(
    f"{name}:{ranks}:{rank}"
    for name in CASES
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
    name, ranks, rank = one.split(":")
    profile, given = _trace(name), CASES[name].plan
    plan = make_plan(given) if given else find_model_plan(profile)
    assert plan is not None
    step = shard_tensors(RankStep(Mesh(tp=int(ranks)), Mesh(0, 0, 0, 0, int(rank)), profile), plan)
    step.profile.check()
    return step


def _check(one: str, real: dict[str, Any]) -> None:
    step = _split(one)
    profile = step.profile
    assert profile.totals.complete
    sizes = {tensor.name: tensor.nbytes for tensor in profile.parameters if tensor.role == "parameter"}
    assert sizes == real["parameters"]
    assert Counter(_sizes(profile, "gradient")) == Counter(real["gradients"].values())
    assert sum(_sizes(profile, "optimizer state")) == sum(real["states"].values())
    steady = build_step(profile)
    later = set(steady.ops)
    assert [[each.kind, each.nbytes] for each in step.collectives if each.op in later] == real["collectives"]
    assert max(sum_step_bytes(profile, steady)) == pytest.approx(max(live for _, live in real["seen"]), rel=0.01)


def _sizes(profile: Profile, role: str) -> list[int]:
    return [one.nbytes for one in profile.storages if one.role == role and (role == "gradient" or one.died is None)]


@pytest.mark.parametrize("one", FEW)
def test_a_rank_has_what_torch_gives_it(one: str) -> None:
    _check(one, _train_for_real(FEW)[one])


@pytest.mark.slow
@pytest.mark.parametrize("one", MANY)
def test_every_rank_has_what_torch_gives_it(one: str) -> None:
    _check(one, _train_for_real(MANY)[one])
