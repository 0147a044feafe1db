"""What torch itself does on one rank, with its fake process group: the oracle, run as a process of its own.

Reads cases as lines of JSON, and writes what each rank holds and sends and has live at its peak. No archprof here.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

import torch
import torch.distributed as dist
from data_axis_models import MODELS
from live_counter import LiveCounter, watch_resizing
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._pytree import tree_leaves

TENSOR_STYLES = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}

STEPS = 3
"""The first makes the optimizer's state, and buckets are made anew in the second."""


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    ranks = case["dp"] * case["fsdp"] * case.get("tp", 1)
    dist.init_process_group("fake", rank=case["rank"], world_size=ranks, store=FakeStore())
    try:
        torch.manual_seed(0)
        model, args, kwargs = MODELS[case["model"]]()
        for path in case["units"] if case.get("checkpoint") else ():
            if path:
                model.set_submodule(path, checkpoint_wrapper(model.get_submodule(path)))
        wrap = wrap_copies if case["level"] in ("ddp", "zero1") else wrap_fully
        return measure(wrap(model, case), (args, kwargs), case)
    finally:
        dist.destroy_process_group()


def wrap_fully(model: torch.nn.Module, case: dict[str, Any]) -> torch.nn.Module:
    names = (*["dp"] * (case["dp"] > 1), "fsdp", *["tp"] * ("tp" in case))
    mesh = init_device_mesh("cpu", tuple(case[name] for name in names), mesh_dim_names=names)
    if "tp" in case:
        plan = {path: TENSOR_STYLES[style]() for path, style in case["plan"].items()}
        parallelize_module(model, mesh["tp"], plan)
        mesh = mesh[names[:-1] if len(names) > 2 else "fsdp"]
    dtypes = {
        name: case[name] and getattr(torch, case[name]) for name in ("param_dtype", "reduce_dtype") if name in case
    }
    options: dict[str, Any] = {
        "mesh": mesh,
        "reshard_after_forward": False if case["level"] == "zero2" else case.get("reshard"),
        "mp_policy": MixedPrecisionPolicy(**dtypes),
    }
    modules = dict(model.named_modules())
    for path in sorted(filter(None, case["units"]), key=lambda path: -path.count(".")):
        fully_shard(modules[path], **options)
    return fully_shard(model, **options)


def wrap_copies(model: torch.nn.Module, case: dict[str, Any]) -> torch.nn.Module:
    names = ("gradient_as_bucket_view", "bucket_cap_mb", "find_unused_parameters")
    wrapped = DistributedDataParallel(model, **{name: case[name] for name in names if name in case})
    wrapped.register_comm_hook(None, reduce_bucket)
    return wrapped


def reduce_bucket(_: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """What the reducer does itself; the futures of the fake group have no value for it."""
    dist.all_reduce(bucket.buffer())
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


reduce_bucket.__annotations__.clear()  # the reducer takes no annotations that are text


def make_optimizer(model: torch.nn.Module, case: dict[str, Any]) -> Any:
    trained = [one for one in model.parameters() if one.requires_grad]
    kind = getattr(torch.optim, case["optimizer"])
    if case["level"] == "zero1":
        return ZeroRedundancyOptimizer(trained, optimizer_class=kind, foreach=True)
    return kind(trained, foreach=True)


def measure(model: torch.nn.Module, inputs: Any, case: dict[str, Any]) -> dict[str, Any]:
    counter, train = LiveCounter(), case.get("train", True)
    optimizer = make_optimizer(model, case) if case["optimizer"] else None
    for tensor in [*model.parameters(), *model.buffers(), *tree_leaves(inputs)]:
        if isinstance(tensor, torch.Tensor):
            counter.add(tensor)
    parameter_bytes = sum_bytes(model.parameters())
    model.train(train)
    with counter, watch_resizing(counter), torch.set_grad_enabled(train):
        for _ in range(STEPS):
            counter.restart()
            run_step(model, optimizer, inputs, case.get("passes", 1), counter)
            gradient_bytes = sum_bytes([one.grad for one in model.parameters() if one.grad is not None])
            model.zero_grad(set_to_none=True)
    state = getattr(optimizer, "optim", optimizer).state.values() if optimizer else ()
    return {
        "parameters": parameter_bytes,
        "gradients": gradient_bytes,
        "state": sum_bytes([one for each in state for one in each.values() if isinstance(one, torch.Tensor)]),
        "sent": sorted([*kind, count] for kind, count in counter.sent.items()),
        "peak": counter.peak,
        "log": counter.log if case.get("log") else [],
    }


def run_step(model: torch.nn.Module, optimizer: Any, inputs: Any, passes: int, counter: LiveCounter) -> None:
    args, kwargs = inputs
    for _ in range(passes):
        counter.sent.clear()
        out = model(*args, **kwargs)
        if torch.is_grad_enabled():
            roots = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor) and one.requires_grad]
            seeds = [torch.ones_like(one) for one in roots]
            torch.autograd.backward(roots, seeds)
            del roots, seeds
    if optimizer is not None:
        optimizer.step()


def sum_bytes(tensors: Any) -> tuple[int, int]:
    """Of the tensors themselves, and of the storages in which they lie."""
    local = [one.to_local() if isinstance(one, DTensor) else one for one in tensors]
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in local}
    return sum(one.numel() * one.itemsize for one in local), sum(storages.values())


def write_case(number: int, case: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps([number, run_case(case)]) + "\n")
    sys.stdout.flush()


def write_apart(number: int, case: dict[str, Any]) -> None:
    """In a child: what torch remembers of one mesh does not fit layers that are cut over another."""
    child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{case} failed.")
        return
    failed = 1
    try:
        write_case(number, case)
        failed = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(failed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = [json.loads(line) for line in sys.stdin]
    for number, case in sorted(enumerate(cases), key=lambda one: "tp" not in one[1]):
        (write_apart if "tp" in case else write_case)(number, case)
