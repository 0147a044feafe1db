"""How a tensor is cut along its first dimension: as `torch.chunk` cuts it, the last shards smaller or empty."""

from __future__ import annotations

from math import prod

from archprof.facts.records import TensorSpec


def count_padded_rows(rows: int, ranks: int) -> int:
    """Rows of the largest shard, to which the others are padded."""
    return -(-rows // ranks)


def count_local_rows(rows: int, ranks: int, rank: int) -> int:
    """Rows of the shard of one rank: 0 where there are none left."""
    chunk = count_padded_rows(rows, ranks)
    return max(0, min(chunk, rows - rank * chunk))


def cut_spec(spec: TensorSpec, rows: int, dtype: str | None = None) -> TensorSpec:
    """The layout of so many first rows of a tensor, plain; in another dtype, where one is given."""
    item_bytes = spec.item_bytes if dtype in (None, spec.dtype) else None
    return TensorSpec((rows, *spec.shape[1:]), dtype or spec.dtype, None, item_bytes)


def count_padded(spec: TensorSpec, ranks: int) -> int:
    """Elements of a padded shard."""
    return count_padded_rows(spec.shape[0], ranks) * prod(spec.shape[1:])
