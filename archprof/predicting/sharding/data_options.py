"""How the data axes of a mesh are used: copies of the model, and what of it is dealt out to ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DataLevel = Literal["ddp", "zero1", "zero2", "zero3"]
"""What is dealt out along `fsdp`: nothing; the optimizer's state; gradients too; parameters too.

`zero1` is torch's `ZeroRedundancyOptimizer` behind `DistributedDataParallel`, which deals out whole parameters, and
not DeepSpeed's, which cuts one flat buffer. `zero2` is `fully_shard(reshard_after_forward=False)`: parameters lie
sharded between steps, and are whole from the forward to the backward. `zero3` is `fully_shard`.
"""


@dataclass(frozen=True)
class DataOptions:
    """What a training script tells torch.

    Attributes:
        level: what is dealt out along `fsdp`; along `dp` there are copies.
        units: patterns of paths, or kinds of modules, that are gathered together, as `fully_shard` is called on them;
            none: the repeated blocks. The model itself is always a unit.
        reshard_after_forward: whether parameters are freed between the forward and the backward; `None`: those of all
            units but the model's own, as torch does unless it is told.
        param_dtype: in which units are gathered and compute; `None`: as they are stored. The pass was traced in it.
        stored_dtype: of the shards and of the optimizer's state, where `param_dtype` is another.
        reduce_dtype: in which gradients are reduced; `None`: that of the gradients.
        bucket_bytes: of `DistributedDataParallel`: its `bucket_cap_mb` in bytes, gradients that are reduced together;
            `None`: 1 MiB for the first bucket, and 25 for others.
        gradients_in_buckets: its `gradient_as_bucket_view`: the buckets are the gradients, and no copies of them.
        broadcast_buffers: its option of that name: buffers go out from rank 0 before each forward.
    """

    level: DataLevel = "zero3"
    units: tuple[str, ...] = ()
    reshard_after_forward: bool | None = None
    param_dtype: str | None = None
    stored_dtype: str = "float32"
    reduce_dtype: str | None = None
    bucket_bytes: int | None = None
    gradients_in_buckets: bool = False
    broadcast_buffers: bool = True


PLAIN_DATA = DataOptions()
