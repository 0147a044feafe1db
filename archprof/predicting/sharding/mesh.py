"""The mesh of devices: how many ranks along each axis, and the grammar of `--mesh`."""

from __future__ import annotations

from math import prod
from typing import Literal, NamedTuple, get_args

from archprof.errors import UsageError

Axis = Literal["pp", "dp", "fsdp", "ep", "tp"]
"""Stages of a pipeline; copies of the model; shards of the parameters; experts; parts of a layer."""

AXES: tuple[Axis, ...] = get_args(Axis)
MOST_RANKS = 1 << 20


class Mesh(NamedTuple):
    """How many ranks along each axis, the outermost first: neighbours in `tp` are neighbours in the machine.

    As torch lays a mesh out: `init_device_mesh(..., (pp, dp, fsdp, tp))`. Experts are dealt over ranks of the data
    axes, so that `ep` is a part of `dp` x `fsdp` and no factor of the number of ranks.
    """

    pp: int = 1
    dp: int = 1
    fsdp: int = 1
    ep: int = 1
    tp: int = 1

    @property
    def ranks(self) -> int:
        """Devices in all."""
        return self.pp * self.dp * self.fsdp * self.tp

    def __str__(self) -> str:
        """As `--mesh` takes it."""
        return ",".join(f"{axis}={size}" for axis, size in zip(AXES, self, strict=True) if size > 1) or "dp=1"


def parse_mesh(text: str) -> Mesh:
    """ "dp=8,fsdp=8,tp=4,pp=2" -> the mesh.

    Raises:
        UsageError: an axis that there is not or that stands twice, a size that is no number from 1 on, more ranks
            than anyone has, or experts that do not divide the ranks of the data axes.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, equals, size = (piece.strip() for piece in part.partition("="))
        if axis not in AXES or not equals:
            raise UsageError(f"--mesh: {part!r} is no axis and its size; axes are {', '.join(AXES)}: dp=8,tp=4")
        if axis in sizes:
            raise UsageError(f"--mesh: {axis} stands there twice")
        if not (size.isascii() and size.isdigit() and len(size) < 8 and int(size)):
            raise UsageError(f"--mesh: {axis}={size} is no number of ranks; try {axis}=2")
        sizes[axis] = int(size)
    return check_mesh(Mesh(**sizes))


def check_mesh(mesh: Mesh) -> Mesh:
    """The mesh, where it can be laid out.

    Raises:
        UsageError: as `parse_mesh`.
    """
    if prod(mesh) > MOST_RANKS:
        raise UsageError(f"--mesh {mesh}: {mesh.ranks:,} ranks; at most {MOST_RANKS:,}")
    if (mesh.dp * mesh.fsdp) % mesh.ep:
        raise UsageError(f"--mesh {mesh}: ep={mesh.ep} does not divide dp x fsdp = {mesh.dp * mesh.fsdp} ranks")
    return mesh
