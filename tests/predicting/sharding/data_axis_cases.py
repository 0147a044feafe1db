"""Cases for the data axes, what archprof says of each, and what torch does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from data_axis_models import MODELS

import archprof
from archprof.facts.records import Profile
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.sharding.data import shard_data
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.plan import make_plan
from archprof.predicting.sharding.ranks import RankStep
from archprof.predicting.sharding.tensor_parallel import shard_tensors
from archprof.predicting.sharding.units import find_units

Case = dict[str, Any]

RANKS = Path(__file__).with_name("data_axis_ranks.py")


def make_case(model: str, rank: int = 0, fsdp: int = 1, dp: int = 1, level: str = "zero3", **more: Any) -> Case:
    return {"model": model, "fsdp": fsdp, "dp": dp, "rank": rank, "level": level, "optimizer": "AdamW", **more}


def name_case(case: Case) -> str:
    return " ".join(str(value) if name == "model" else f"{name}={value}" for name, value in case.items())


@cache
def trace_model(
    model: str, train: bool, optimizer: str | None, passes: int, dtype: str | None, checkpoint: tuple[str, ...]
) -> Profile:
    torch.manual_seed(0)
    module, args, kwargs = MODELS[model]()
    inputs = {"input_ids": args[0], **kwargs} if kwargs else [*args]
    asked = optimizer and optimizer.lower()
    options = {"train": train, "optimizer": asked, "accumulate": passes, "dtype": dtype, "checkpoint": checkpoint}
    return archprof.profile(module, inputs, **options)


def trace_case(case: Case) -> Profile:
    asked = (case.get("train", True), case["optimizer"], case.get("passes", 1), case.get("param_dtype"))
    return trace_model(case["model"], *asked, case.get("checkpoint", ()))


def make_options(case: Case) -> DataOptions:
    megabytes = case.get("bucket_cap_mb")
    return DataOptions(
        level=case["level"],
        units=tuple(case.get("patterns", ())),
        reshard_after_forward=case.get("reshard"),
        param_dtype=case.get("param_dtype"),
        reduce_dtype=case.get("reduce_dtype"),
        bucket_bytes=megabytes and int(megabytes * (1 << 20)),
        gradients_in_buckets=case.get("gradient_as_bucket_view", False),
    )


def shard_case(case: Case) -> RankStep:
    tp = case.get("tp", 1)
    rank, along_tp = divmod(case["rank"], tp)
    along_dp, along_fsdp = divmod(rank, case["fsdp"])
    mesh = Mesh(dp=case["dp"], fsdp=case["fsdp"], tp=tp)
    step = RankStep(mesh, Mesh(0, along_dp, along_fsdp, 0, along_tp), trace_case(case))
    if tp > 1:
        step = shard_tensors(step, make_plan(case["plan"]))
    return shard_data(step, make_options(case))


def predict_case(case: Case) -> dict[str, Any]:
    """The answer in the words of the oracle."""
    step = shard_case(case)
    profile = step.profile
    profile.check()
    parameters = [one for one in profile.parameters if one.role == "parameter"]
    stepped = {tensor for op in profile.ops if op.phase == "optimizer" for tensor in (*op.inputs, *op.outputs)}
    sent = Counter((one.kind, one.nbytes) for one in step.collectives)
    return {
        "parameters": [sum(one.nbytes for one in parameters), _sum_storages(profile, "parameter")],
        "gradients": [_sum_tensors(profile, stepped, "gradient"), _sum_storages(profile, "gradient")],
        "state": [_sum_tensors(profile, stepped, "optimizer state"), _sum_storages(profile, "optimizer state")],
        "sent": sorted([*kind, count] for kind, count in sent.items()),
        "peak": max(sum_step_bytes(profile, build_step(profile))),
    }


def _sum_tensors(profile: Profile, tensors: Iterable[int], role: str) -> int:
    return sum(profile.tensors[one].spec.nbytes for one in tensors if profile.role_of(one) == role)


def _sum_storages(profile: Profile, role: str) -> int:
    """Of those that outlive the step."""
    return sum(one.nbytes for one in profile.storages if one.role == role and one.died is None)


def run_torch(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """What torch does, in a process that its process group may change as it likes."""
    lines = []
    for case in cases:
        profile = trace_case(case)
        units = [profile.modules[one.module].path for one in find_units(profile, case.get("patterns", ()))]
        lines.append(json.dumps({**case, "units": units}) + "\n")
    done = subprocess.run([sys.executable, str(RANKS)], input="".join(lines), capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]
    return [answer for _, answer in sorted(json.loads(line) for line in done.stdout.splitlines())]


def check_case(case: Case, torch_says: dict[str, Any]) -> None:
    """Equal to the byte in what a rank holds and sends, and in its peak within 1 %."""
    says = predict_case(case)
    assert says["sent"] == torch_says["sent"]
    assert says["parameters"] == torch_says["parameters"]
    assert says["state"] == torch_says["state"]
    if not case.get("gradient_as_bucket_view"):
        assert says["gradients"][1] == torch_says["gradients"][1]
    if case["level"] in ("zero2", "zero3") and case["optimizer"]:
        assert says["gradients"][0] == torch_says["gradients"][0]
    assert abs(says["peak"] - torch_says["peak"]) <= 0.01 * torch_says["peak"]
