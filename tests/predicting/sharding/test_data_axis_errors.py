"""What is asked of the data axes and cannot be: each is refused with a reason, or answered."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from data_axis_cases import trace_model
from torch import nn

import archprof
from archprof.errors import ArchprofError, TraceError, UnknownName
from archprof.facts.records import Profile
from archprof.predicting.memory_events import Workspaces, list_changes
from archprof.predicting.sharding.data import shard_data
from archprof.predicting.sharding.data_options import DataLevel, DataOptions
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.ranks import RankStep

WAYS = (
    DataOptions("ddp"),
    DataOptions("ddp", gradients_in_buckets=True),
    DataOptions("zero1"),
    DataOptions("zero2"),
    DataOptions(),
    DataOptions(reshard_after_forward=True),
)


def shard(profile: Profile, options: DataOptions = DataOptions(), ranks: int = 4, rank: int = 0) -> RankStep:  # noqa: B008
    return shard_data(RankStep(Mesh(fsdp=ranks), Mesh(0, 0, rank, 0, 0), profile), options)


def trace(model: nn.Module, *shape: int, train: bool = True) -> Profile:
    return archprof.profile(model, torch.zeros(*shape), train=train)


class Reader(nn.Module):
    """Reads a weight of a block without calling the block."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x) + self.blocks[0][0].bias


class Scaled(nn.Module):
    def __init__(self, scale: torch.Tensor) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(4, 4), nn.Parameter(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale.sum().to(x.dtype)


def test_a_failed_pass_is_refused() -> None:
    with pytest.raises(TraceError) as error:
        trace(nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3)), 2, 4)
    with pytest.raises(ArchprofError, match=r"The forward of \S+ failed \(RuntimeError"):
        shard(error.value.profile)


def test_a_unit_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownName, match="Near it"):
        shard(trace_model("tied", True, "adamw", 1, None, ()), DataOptions(units=("block.*",)))


def test_a_parameter_read_outside_its_unit_is_refused() -> None:
    with pytest.raises(ArchprofError, match=r"the model reads blocks.0.0.bias while that is not gathered"):
        shard(trace(Reader(), 2, 4), DataOptions(units=("blocks.?",)))


def test_a_number_without_dimensions_is_refused() -> None:
    with pytest.raises(ArchprofError, match=r"scale is a number without dimensions(.|\n)*shape \(1,\)"):
        shard(trace(Scaled(torch.tensor(1.0)), 2, 4))


def test_two_dtypes_in_one_unit_are_refused() -> None:
    with pytest.raises(ArchprofError, match="The unit the model has trainable parameters in float16 and float32"):
        shard(trace(Scaled(torch.ones(2, dtype=torch.float16)), 2, 4))


def test_a_parameter_that_lies_otherwise_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).to(memory_format=torch.channels_last)
    with pytest.raises(ArchprofError, match=r"0.weight does not lie row by row: \(4, 3, 3, 3\)"):
        shard(trace(model, 1, 3, 8, 8))


@pytest.mark.parametrize("name", ["param_dtype", "reduce_dtype", "stored_dtype"])
def test_a_dtype_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(UnknownName, match=r"floating dtype called 'bf16'"):
        shard(trace(nn.Linear(4, 4), 2, 4), replace(DataOptions(), **{name: "bf16"}))


def test_a_pass_in_another_dtype_is_refused() -> None:
    with pytest.raises(ArchprofError, match=r"gathered in bfloat16, and the pass was traced in float32(.|\n)*--dtype"):
        shard(trace(nn.Linear(4, 4), 2, 4), DataOptions(param_dtype="bfloat16"))


@pytest.mark.parametrize("level", ["ddp", "zero1", "zero2", "zero3"])
@pytest.mark.parametrize("train", [True, False])
def test_a_model_without_parameters_has_nothing_to_shard(level: DataLevel, train: bool) -> None:
    step = shard(trace(nn.Sequential(nn.ReLU(), nn.Softmax(-1)), 2, 4, train=train), DataOptions(level))
    assert step.collectives == ()


@pytest.mark.parametrize("level", ["ddp", "zero1", "zero2", "zero3"])
def test_one_rank_has_the_step_as_it_was(level: DataLevel) -> None:
    profile = trace_model("tied", True, "adamw", 1, None, ())
    assert shard(profile, DataOptions(level), ranks=1).profile is profile


@pytest.mark.parametrize("level", ["zero1", "zero2", "zero3"])
def test_a_rank_beyond_the_last_row_holds_nothing_and_does_its_part(level: DataLevel) -> None:
    profile = trace_model("tied", True, "adamw", 1, None, ())
    step = shard(profile, DataOptions(level), ranks=100, rank=99)
    state = [one for one in step.profile.storages if one.role == "optimizer state" and one.nbytes > 8]
    assert state == []
    assert len(step.collectives) == len(shard(profile, DataOptions(level), ranks=100).collectives)


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("inference", [True, False])
def test_what_a_step_makes_is_gone_before_the_next(options: DataOptions, inference: bool) -> None:
    profile = trace_model("tied", not inference, None if inference else "adamw", 1, None, ())
    left = [0, 0, 0]
    sizes: dict[int, int] = {}
    for change in list_changes(shard(profile, options).profile, Workspaces(), 3):
        size = sizes.setdefault(change.block, change.nbytes or 0)
        if change.position >= 0:
            left[change.step] += size if change.nbytes is not None else -size
    inputs = sum(one.nbytes for one in profile.storages if one.role == "input")
    assert left[1:] == [-inputs, -inputs]  # which are there before the step, and go with it
