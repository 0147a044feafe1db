"""Which modules are gathered together, and which ranks hold alike."""

from __future__ import annotations

import pytest
import torch
from data_axis_cases import trace_model
from data_axis_models import Block
from torch import nn

import archprof
from archprof.errors import ArchprofError, UnknownName
from archprof.facts.records import Profile
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.places import list_distinct_places
from archprof.predicting.sharding.units import find_units
from archprof.predicting.sharding.zero import deal_parameters


def trace(model: nn.Module, *shape: int) -> Profile:
    return archprof.profile(model, torch.zeros(*shape), train=True)


def list_paths(profile: Profile, *patterns: str) -> list[str]:
    return [profile.modules[one.module].path for one in find_units(profile, patterns)]


class Stages(nn.Module):
    """Blocks in stages, an encoder and a decoder of one kind, and layers in a list inside a block."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(Block(6), Block(6))
        self.two = nn.Sequential(nn.Linear(6, 6), Block(6))
        self.last = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.two(self.one(x)))


class Beside(nn.Module):
    """Blocks that the model holds itself, of which three make a kind of block and two do not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (Block(4) for _ in range(3))
        self.encoder, self.decoder = Stages(), Stages()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x))), self.encoder(torch.zeros(1, 6)), self.decoder(torch.zeros(1, 6))


def test_the_repeated_blocks_in_lists_are_units_and_what_is_left_is_the_models_own() -> None:
    profile = trace(Stages(), 1, 6)
    assert list_paths(profile) == ["", "one.0", "one.1", "two.1"]
    names = [[profile.parameters[at].name for at in one.parameters] for one in find_units(profile)]
    assert names[0] == ["two.0.weight", "two.0.bias", "last.weight", "last.bias"]
    assert sum(map(len, names)) == len(profile.parameters)


def test_three_blocks_beside_one_another_are_units_and_an_encoder_and_a_decoder_are_none() -> None:
    inner = [f"{part}.{path}" for part in ("encoder", "decoder") for path in ("one.0", "one.1", "two.1")]
    assert list_paths(trace(Beside(), 1, 4)) == ["", "a", "b", "c", *inner]


def test_a_model_without_blocks_is_one_unit() -> None:
    assert list_paths(trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), 1, 4)) == [""]


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (("one.*",), ["", "one.0", "one.1"]),
        (("Block",), ["", "one.0", "one.1", "two.1"]),
        (("one.*", "one.0.up"), ["", "one.0", "one.0.up", "one.1"]),
        (("*.up", "last"), ["", "one.0.up", "one.1.up", "two.1.up", "last"]),
    ],
)
def test_units_are_named_by_path_or_by_kind(patterns: tuple[str, ...], paths: list[str]) -> None:
    assert list_paths(trace(Stages(), 1, 6), *patterns) == paths


def test_a_pattern_that_names_no_module_is_refused_with_near_ones() -> None:
    with pytest.raises(UnknownName, match=r"unit of .*'Blok'(.|\n)*Near it: Block"):
        find_units(trace(Stages(), 1, 6), ["Blok"])


def test_a_parameter_of_two_units_is_refused_as_torch_does() -> None:
    profile = trace_model("tied", True, "adamw", 1, None, ())
    with pytest.raises(ArchprofError, match=r"embed.weight is also head.weight, in another unit: 'embed' and 'the"):
        find_units(profile, ["embed"])


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 8, 16, 64])
def test_places_stand_for_all_ranks_with_shards_of_torchs_sizes(ranks: int) -> None:
    profile = trace_model("tied", True, "adamw", 1, None, ())
    wholes = [torch.zeros(one.spec.shape) for one in profile.parameters if one.role == "parameter"]
    chunks = [one.chunk(ranks) for one in wholes]
    sizes = [tuple(len(one[rank]) if rank < len(one) else 0 for one in chunks) for rank in range(ranks)]
    groups = list_distinct_places(Mesh(fsdp=ranks, dp=3), profile)
    assert len(groups) == len(set(sizes))
    assert [group.ranks for group in groups] == [3 * sizes.count(sizes[group.place.fsdp]) for group in groups]


def test_there_are_no_more_places_where_there_are_more_ranks() -> None:
    profile = trace_model("tied", True, "adamw", 1, None, ())
    for options in (DataOptions(), DataOptions("zero1"), DataOptions("ddp")):
        many, more = (list_distinct_places(Mesh(fsdp=ranks), profile, options) for ranks in (4096, 1 << 20))
        assert len(many) == len(more)
        assert sum(one.ranks for one in more) == 1 << 20


def test_whole_parameters_are_dealt_the_largest_first_to_whom_has_least() -> None:
    profile = trace(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 1)), 1, 3)
    sizes = [[profile.parameters[at].spec.numel for at in rank] for rank in deal_parameters(profile, 2)]
    assert sizes == [[12, 2, 1], [8, 4, 2]]  # 12 | 8 4 | 2 | 2 | 1, by hand
