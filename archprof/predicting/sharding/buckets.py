"""The buckets of `DistributedDataParallel`: gradients that are copied into one buffer and reduced together."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.facts.records import TensorSpec

MIB = 1 << 20
FIRST_BYTES, BYTES = MIB, 25 * MIB
"""The reducer's limits: a small first bucket, whose exchange begins early."""

BROADCAST_BYTES = 250 * MIB
"""Buffers that go out together before a forward."""


def list_limits(bucket_bytes: int | None) -> tuple[int, ...]:
    """Bytes at which each bucket is full, the last limit for all further ones."""
    return (FIRST_BYTES, BYTES) if bucket_bytes is None else (bucket_bytes,)


def fill_buckets(specs: Sequence[TensorSpec], limits: Sequence[int]) -> list[list[int]]:
    """Positions among the tensors, by bucket: one is closed once it has reached its limit; each dtype has its own."""
    buckets: list[list[int]] = []
    still_open: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    closed: dict[str, int] = {}
    for position, spec in enumerate(specs):
        still_open.setdefault(spec.dtype, []).append(position)
        sizes[spec.dtype] = sizes.get(spec.dtype, 0) + spec.nbytes
        if sizes[spec.dtype] >= limits[min(closed.get(spec.dtype, 0), len(limits) - 1)]:
            buckets.append(still_open.pop(spec.dtype))
            closed[spec.dtype] = closed.get(spec.dtype, 0) + 1
            del sizes[spec.dtype]
    return [*buckets, *still_open.values()]
