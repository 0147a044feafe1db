"""Experts dealt over the ranks of the data axes: what these leave alone, and what cannot be."""

from __future__ import annotations

import pytest
import torch
from predicting.sharding.split_models import CASES

import archprof
from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.predicting.sharding.mesh import parse_mesh
from archprof.predicting.sharding.shard import shard_profile


@pytest.fixture(scope="module")
def mixture() -> Profile:
    case = CASES["mixtral"]
    with torch.device("meta"):
        model = case.build()
    return archprof.profile(model, case.make_inputs(), train=True, optimizer="sgd")


@pytest.mark.parametrize("mesh", ["fsdp=4,ep=4", "dp=4,ep=4", "dp=2,fsdp=2,ep=4"])
def test_data_axes_leave_experts_alone(mixture: Profile, mesh: str) -> None:
    """8 experts of 2 x 96 x 64 and 64 x 96 in bfloat16, 2 of them here; gradients of all else are summed, by hand."""
    step = shard_profile(mixture, parse_mesh(mesh)).ranks[0].step
    experts = [one for one in step.profile.parameters if ".experts." in one.name]
    assert [one.spec.shape for one in experts] == [(2, 192, 64), (2, 64, 96)] * 2
    whole = sum(one.nbytes for one in mixture.parameters if ".experts." not in one.name and one.role == "parameter")
    kinds = ("reduce-scatter",) if "fsdp=" in mesh else ("all-reduce",)
    summed = sum(one.nbytes for one in step.collectives if one.axis in ("dp", "fsdp") and one.kind in kinds)
    assert whole <= summed <= whole * 1.01  # shares are padded


def test_tokens_are_sent_once_per_choice(mixture: Profile) -> None:
    """128 tokens of 64 bfloat16, 2 experts each; counts of 8 experts; forward and backward of 2 layers."""
    step = shard_profile(mixture, parse_mesh("fsdp=2,ep=2")).ranks[0].step
    sent = [(one.kind, one.group, one.nbytes) for one in step.collectives if one.axis == "ep"]
    rows, counts = ("all-to-all", 2, 128 * 2 * 64 * 2), ("all-to-all", 2, 8 * 8)
    assert sent == [counts, rows, rows, counts, rows, rows, rows, rows, rows, rows]
    assert any("chosen equally often" in note for note in step.profile.notes)


@pytest.mark.parametrize(
    ("mesh", "why"),
    [
        ("fsdp=16,ep=16", "8 experts cannot be dealt over ep=16 evenly"),
        ("fsdp=4,ep=2", "over some of the ranks of the data axes"),
        ("fsdp=2,ep=2,tp=2", "over ep and layers over tp at once"),
    ],
)
def test_meshes_that_are_not_known_are_refused(mixture: Profile, mesh: str, why: str) -> None:
    with pytest.raises(ArchprofError, match=why):
        shard_profile(mixture, parse_mesh(mesh))
