"""Links and the bound of a step against hand-worked numbers."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from archprof.errors import UnknownName, UsageError
from archprof.predicting.devices import FIGURE_STATUSES, load_catalogue, resolve_device
from archprof.predicting.sharding.links import bound_seconds, find_fabric, find_path, load_links
from archprof.predicting.sharding.mesh import Mesh
from archprof.predicting.sharding.ranks import Collective
from archprof.predicting.sharding.step_time import RankTime, join_ranks

H100 = resolve_device("NVIDIA H100 SXM5 80GB")


def test_every_link_has_a_source_or_says_that_it_has_none() -> None:
    with files("archprof.data").joinpath("links.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["status"] in FIGURE_STATUSES
        assert bool(row["source"]) == (row["status"] != "unverified"), row
        assert (row["status"] == "seen") <= row["url"].startswith("https://")
    assert len({row["link"] for row in rows}) == len(rows)
    assert {one.place for one in load_links().values()} == {"node", "network"}


def test_every_device_has_links() -> None:
    fabrics = {one.name: find_fabric(one) for one in load_catalogue() if one.kind == "gpu"}
    links = {name: (fabric.node.name, fabric.network.name) for name, fabric in fabrics.items()}
    assert links["NVIDIA H100 SXM5 80GB"] == ("nvlink4", "ndr")
    assert links["NVIDIA H100 PCIe"] == ("pcie5", "ndr")
    assert links["NVIDIA A100 SXM4 40GB"] == ("nvlink3", "hdr")
    assert links["NVIDIA V100 SXM2"] == ("nvlink2", "edr")
    assert links["NVIDIA B200 SXM"] == ("nvlink5", "ndr")
    assert links["NVIDIA T4"] == ("pcie3", "100gbe")
    assert links["NVIDIA GeForce RTX 4090"][0] == links["NVIDIA L4"][0] == "pcie4"


def test_links_that_are_not() -> None:
    with pytest.raises(UnknownName, match="nvlink4"):
        find_fabric(H100, link="nvlink9")
    with pytest.raises(UnknownName, match="network between nodes"):
        find_fabric(H100, network="nvlink4")
    with pytest.raises(UsageError, match="A node of 0 GPUs"):
        find_fabric(H100, 0)
    assert find_fabric(H100, network="HDR").network.bandwidth == 25e9


@pytest.mark.parametrize(
    ("axis", "group", "name", "bandwidth"),
    [
        ("tp", 4, "nvlink4", 450e9),
        ("fsdp", 2, "nvlink4", 450e9),  # 4 x 2 ranks are one node
        ("fsdp", 8, "ndr", 100e9),  # two ranks of a node each send over their own port
        ("dp", 2, "ndr", 50e9),
        ("pp", 2, "ndr", 50e9),
    ],
)
def test_paths(axis: str, group: int, name: str, bandwidth: float) -> None:
    mesh = Mesh(pp=2, dp=2, fsdp=8, tp=4)
    path = find_path(find_fabric(H100), mesh, axis, group)  # type: ignore[arg-type]
    assert (path.name, path.bandwidth) == (name, bandwidth)


def test_a_whole_node_sends_over_all_its_ports() -> None:
    assert find_path(find_fabric(H100), Mesh(fsdp=64), "fsdp", 64).bandwidth == 400e9


def test_collectives() -> None:
    path = find_path(find_fabric(H100), Mesh(tp=8), "tp", 8)
    gigabyte = 10**9
    assert bound_seconds(Collective("all-gather", "tp", 8, gigabyte, 0), path) == pytest.approx(
        3 * 0.6e-6 + 7 / 8 / 450
    )
    assert bound_seconds(Collective("all-reduce", "tp", 8, gigabyte, 0), path) == pytest.approx(
        3 * 0.6e-6 + 7 / 4 / 450
    )
    assert bound_seconds(Collective("send", "pp", 2, gigabyte, 0), path) == 0
    assert bound_seconds(Collective("receive", "pp", 2, gigabyte, 0), path) == pytest.approx(0.6e-6 + 1 / 450)
    assert bound_seconds(Collective("all-gather", "tp", 1, gigabyte, 0), path) == 0


def test_what_runs_beside_the_work_hides_in_it() -> None:
    hidden = RankTime(compute=3, optimizer=1, exposed=0.5, ahead=2, exposed_once=0.25, ahead_once=0)
    assert hidden.sum_step(4) == 4 * 3 + 4 * 0.5 + 0.25 + 1
    longer = hidden._replace(ahead=5)
    assert longer.sum_step(4) == 4 * 5 + 4 * 0.5 + 0.25 + 1
    assert longer.sum_waits(4) == 4 * (5 - 3) + 4 * 0.5 + 0.25


def test_a_pipeline_waits_for_the_other_stages_once() -> None:
    stages = [RankTime(seconds, 0, 0, 0, 0, 0) for seconds in (2.0, 3.0, 2.0, 1.0)]
    found = join_ranks(stages, stages, 8, 1)
    assert found.step == 8 * 3 + (2 + 2 + 1)
    assert (found.compute, found.bubble) == (24, 5)
    assert join_ranks(stages, stages, 8, 2).bubble == 2.5
