"""The versions that numbers depend on: equal wherever a sweep runs, or it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archprof.errors import ArchprofError
from archprof.sources.source_identity import PACKAGES, read_version
from archprof.version import __version__

EVERYWHERE = ("archprof", "torch")


class OtherVersion(ArchprofError):
    """A worker whose answers would be those of other programs."""


def read_versions() -> dict[str, str]:
    """Of archprof, torch and the zoos here; "" of what is not installed."""
    import torch

    zoos = {package: read_version(package) for package in PACKAGES.values()}
    return {"archprof": __version__, "torch": str(torch.__version__), **zoos}


def list_devices() -> list[str]:
    """Where passes can be measured here."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def check_versions(asked: Mapping[str, str], there: Mapping[str, str], packages: Iterable[str], where: str) -> None:
    """Raise `OtherVersion` where a worker has another version of archprof, torch or one of the packages."""
    for name in (*EVERYWHERE, *packages):
        here, other = asked.get(name, ""), there.get(name, "")
        if here != other:
            raise OtherVersion(
                f"The worker {where} has {name} {other}, and this is {here}." if other
                else f"The worker {where} has no {name}; this is {here}.",
                "All workers of a sweep have the same versions.",
                f"Try there: pip install {name}=={here}",
            )  # fmt: skip
