"""What joins the ranks: the links inside a node and between nodes, and how long a collective takes at least on them."""

from __future__ import annotations

import re
from functools import cache
from math import ceil, log2
from typing import NamedTuple

from archprof.errors import UnknownName, UsageError
from archprof.files import read_data_table
from archprof.predicting.devices import Device
from archprof.predicting.sharding.mesh import Axis, Mesh
from archprof.predicting.sharding.ranks import Collective

GPUS_OF_NODE = 8
"""As in DGX and HGX nodes."""

DEVICE_LINKS = (
    ("P100 SXM2", "nvlink1", "edr"), ("V100 SXM2", "nvlink2", "edr"), ("A800 SXM4", "nvlink3-a800", "hdr"),
    ("A100 SXM4", "nvlink3", "hdr"), ("H[128]00 SXM|GH200", "nvlink4", "ndr"), ("G?B[23]00", "nvlink5", "ndr"),
    ("MI300X|MI325X|MI355X", "infinity-mi300x", "ndr"), ("MI250X", "infinity-mi250x", "hdr"),
    ("H[12]00|RTX 50|RTX PRO|Blackwell", "pcie5", "ndr"),
    ("A100|A30|A40|A10|A16|A2|L4|RTX 30|RTX 40|Ada|RTX A|MI210|MI100|RX [679]", "pcie4", "hdr"),
)  # fmt: skip
"""What the devices whose names hold that have, by the nodes they are sold in; any other has PCI Express 3."""


class Link(NamedTuple):
    """A link of each device.

    Attributes:
        name: as in links.csv.
        place: "node" or "network".
        bandwidth: B/s in one direction.
        latency: seconds of one step: that of NCCL's tables for its ring with the fastest protocol (NVIDIA/nccl,
            src/graph/tuning.cc, `hwLat`).
        status, source: as those of a figure of a device.
    """

    name: str
    place: str
    bandwidth: float
    latency: float
    status: str
    source: str


class Fabric(NamedTuple):
    """The links of a cluster, and how many devices of a node the first joins."""

    node: Link
    network: Link
    gpus: int = GPUS_OF_NODE


@cache
def load_links() -> dict[str, Link]:
    """Every link of links.csv."""
    return {
        row["link"]: Link(
            row["link"], row["place"], float(row["value"]) * 1e9, float(row["latency_us"]) * 1e-6, row["status"],
            row["source"],
        )
        for row in read_data_table("links.csv")
    }  # fmt: skip


def find_fabric(
    device: Device, gpus: int = GPUS_OF_NODE, link: str | None = None, network: str | None = None
) -> Fabric:
    """The links of nodes of that device, unless they are named.

    Raises:
        UsageError: there is no such link, or it is of another place; a node of no devices.
    """
    if gpus < 1:
        raise UsageError(f"A node of {gpus} GPUs cannot be.", "1 or more.", f"Try: --node {GPUS_OF_NODE}")
    found = next((one for one in DEVICE_LINKS if re.search(one[0], device.name)), ("", "pcie3", "100gbe"))
    return Fabric(_find_link(link or found[1], "node"), _find_link(network or found[2], "network"), gpus)


def _find_link(name: str, place: str) -> Link:
    known = {one.name: one for one in load_links().values() if one.place == place}
    if name.casefold() not in known:
        raise UnknownName("link inside a node" if place == "node" else "network between nodes", name, known)
    return known[name.casefold()]


class Path(NamedTuple):
    """What a group of ranks along an axis talks over: by name, each rank's share, and the time of one step."""

    name: str
    bandwidth: float
    latency: float


def find_path(fabric: Fabric, mesh: Mesh, axis: Axis, group: int) -> Path:
    """What the slowest part of the group's ring is.

    Where it leaves the node, all its ranks there send over their own networks at once, and NCCL makes rings of all.
    """
    stride = {"tp": 1, "ep": mesh.tp, "fsdp": mesh.tp, "dp": mesh.tp * mesh.fsdp}.get(axis, mesh.ranks // mesh.pp)
    if stride * group <= fabric.gpus:
        return Path(fabric.node.name, fabric.node.bandwidth, fabric.node.latency)
    local = max(1, fabric.gpus // stride)
    bandwidth = min(fabric.node.bandwidth, fabric.network.bandwidth * local) if local > 1 else fabric.network.bandwidth
    return Path(fabric.network.name, bandwidth, fabric.network.latency)


def bound_seconds(collective: Collective, path: Path) -> float:
    """The least time: no algorithm takes fewer steps than the logarithm of the ranks, or sends fewer bytes.

    Source: Chan, Heimlich, Purkayastha and van de Geijn, "Collective communication: theory, practice, and experience",
    2007, section 4. A message from one rank to another is waited for where it is received.
    """
    if collective.kind == "send" or collective.group < 2:
        return 0.0
    sent = collective.nbytes if collective.kind == "receive" else collective.sent_bytes
    return ceil(log2(collective.group)) * path.latency + sent / path.bandwidth
