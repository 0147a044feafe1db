"""The data axes, against torch with its fake process group: FSDP2, hybrid, DDP and ZeRO 1, uneven shards included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from data_axis_cases import Case, check_case, make_case, name_case, run_torch

CUT = {
    f"blocks.{block}.{part}": style for block in range(3) for part, style in (("up", "colwise"), ("down", "rowwise"))
}
"""A plan that cuts layers over `tp`: its parts are cut once more along `fsdp`."""

FAST: list[Case] = [
    make_case("tied", fsdp=2, rank=1),
    make_case("tied", fsdp=4, rank=3, reshard=True),
    make_case("tied", fsdp=8, rank=7),
    make_case("tied", fsdp=4, rank=1, reshard=False),
    make_case("tied", fsdp=4, rank=2, passes=2),
    make_case("tied", fsdp=4, rank=2, level="zero2", optimizer="SGD"),
    make_case("tied", dp=2, fsdp=4, rank=6),
    make_case("tied", dp=2, fsdp=2, rank=3, passes=2),
    make_case("tied", dp=2, fsdp=4, param_dtype="bfloat16", reduce_dtype="float32"),
    make_case("tied", fsdp=4, param_dtype="bfloat16", passes=2),
    make_case("tied", fsdp=4, rank=1, train=False, optimizer=None),
    make_case("tied", fsdp=4, rank=1, train=False, optimizer=None, reshard=True),
    make_case("tied", fsdp=4, rank=1, train=False, optimizer=None, reshard=False),
    make_case("tied", fsdp=4, rank=1, patterns=("blocks.*", "blocks.*.up")),
    make_case("tied", fsdp=4, rank=1, patterns=("Block",), optimizer=None),
    make_case("straight", fsdp=4, rank=7, tp=2, plan=CUT),
    make_case("straight", dp=2, fsdp=2, rank=7, tp=2, plan=CUT, passes=2),
    make_case("frozen", fsdp=4, rank=1),
    make_case("straight", fsdp=4, rank=1, checkpoint=("blocks.*",)),
    make_case("straight", fsdp=4, rank=1, checkpoint=("blocks.*",), reshard=False),
    make_case("unused", fsdp=2),
    make_case("gpt2", fsdp=4, rank=3),
    make_case("tied", dp=4, level="ddp"),
    make_case("tied", dp=4, level="ddp", bucket_cap_mb=0.005),
    make_case("tied", dp=4, level="ddp", gradient_as_bucket_view=True),
    make_case("tied", dp=4, level="ddp", gradient_as_bucket_view=True, passes=2),
    make_case("frozen", dp=2, fsdp=2, level="ddp", train=False, optimizer=None),
    make_case("unused", dp=4, level="ddp", find_unused_parameters=True),
    make_case("tied", fsdp=4, rank=2, level="zero1"),
    make_case("frozen", fsdp=8, rank=7, level="zero1", optimizer="SGD"),
    make_case("unused", fsdp=2, rank=1, level="zero1", find_unused_parameters=True),
    make_case("tied", fsdp=4, rank=3, optimizer="Adagrad"),
    make_case("tied", fsdp=4, rank=1, optimizer="Adagrad", level="zero1"),
    make_case("tied", fsdp=4, rank=1, optimizer="RMSprop", level="zero1"),
    make_case("skips", fsdp=4, rank=1),
]  # fmt: skip

SIZES = ({"fsdp": 2}, {"fsdp": 4}, {"fsdp": 8}, {"dp": 2, "fsdp": 4})
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"reshard": True},
    {"reshard": False, "level": "zero2"},
    {"passes": 2},
    {"param_dtype": "bfloat16", "reduce_dtype": "float32"},
    {"train": False, "optimizer": None},
    {"level": "ddp"},
    {"level": "ddp", "gradient_as_bucket_view": True, "bucket_cap_mb": 0.05},
    {"level": "zero1"},
)
MODELS = ("gpt2", "llama", "resnet", "vit", "mixture", "t5", "dense")


def list_whole_grid(model: str) -> Iterator[Case]:
    """Every rank of every size as torch does it unless told, and one rank of every other way."""
    for size in SIZES:
        ranks = size["fsdp"] * size.get("dp", 1)
        for rank in range(ranks):
            yield make_case(model, rank, **size)
        for way in WAYS[1:]:
            in_two = model in ("resnet", "dense") and "param_dtype" in way  # of which torch's norm takes one on a CPU
            if not in_two and (way.get("level") != "zero1" or "dp" not in size):
                yield make_case(model, ranks - 1, **{**size, **way})


@pytest.fixture(scope="module")
def torch_says() -> Callable[[Case], dict[str, Any]]:
    answers = dict(zip(map(name_case, FAST), run_torch(FAST), strict=True))
    return lambda case: answers[name_case(case)]


@pytest.mark.parametrize("case", FAST, ids=name_case)
def test_a_rank_holds_sends_and_peaks_as_in_torch(case: Case, torch_says: Callable[[Case], dict[str, Any]]) -> None:
    check_case(case, torch_says(case))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_rank_of_every_size_is_as_in_torch(model: str) -> None:
    cases = list(list_whole_grid(model))
    for case, answer in zip(cases, run_torch(cases), strict=True):
        check_case(case, answer)
